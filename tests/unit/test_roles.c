/* The roles of FastCGI: which of them are served, and what streams each has (specification, 6). */
#include "fcgi_trace.h"

static void put_end(unsigned type, unsigned id)
{
	put_record(type, id, "", 0, 3);
}

/* All of a request that any role could have. */
static void put_request(unsigned id, unsigned role, unsigned flags)
{
	put_begin(id, role, flags);
	put_record(FCGI_PARAMS, id, "p", 1, 0);
	put_end(FCGI_PARAMS, id);
	if (role != FCGI_AUTHORIZER)
		put_record(FCGI_STDIN, id, "s", 1, 0);
	put_end(FCGI_STDIN, id);
	if (role == FCGI_FILTER) {
		put_record(FCGI_DATA, id, "data", 4, 9);
		put_end(FCGI_DATA, id);
	}
}

#define UNKNOWN_ROLE "01030001000800000000000003000000"
/* Status: 500 Internal Server Error, and the end of FCGI_STDOUT */
#define REFUSAL                                    \
	"0106000100250000"                         \
	"5374617475733a2035303020496e746572"       \
	"6e616c20536572766572204572726f720d0a0d0a" \
	"0106000100000000"

/* Each mask of declared roles, and all numbers around those that there are. */
static void test_roles_are_served_as_declared(void **unused)
{
	static const char *const answers[] = { "B1kP(p)ES(s)F", "B1akP(p)E",
		"B1fkP(p)ES(s)FD(data)G" };
	static const char *const refusals[] = { "R" UNKNOWN_ROLE, "R" REFUSAL UNKNOWN_ROLE,
		"R" UNKNOWN_ROLE };

	(void)unused;
	for (roles = 0; roles < 8; roles++)
		for (unsigned role = 1; role <= 3; role++) {
			put_request(1, role, 1);
			expect(((roles & 1 << (role - 1)) != 0 ? answers : refusals)[role - 1]);
		}
	roles = 7;
	for (unsigned i = 0; i < 5; i++) {
		static const unsigned none[] = { 0, 4, 257, 258, 65535 };

		put_begin(1, none[i], 0);
		expect("X" UNKNOWN_ROLE);
	}
	roles = 1;
	put_begin(1, FCGI_AUTHORIZER, 0);
	expect("X" REFUSAL UNKNOWN_ROLE);
}

static void test_roles_follow_each_other(void **unused)
{
	(void)unused;
	roles = 7;
	put_request(1, FCGI_FILTER, 1);
	put_request(1, FCGI_AUTHORIZER, 1);
	put_request(2, FCGI_RESPONDER, 1);
	put_request(2, FCGI_FILTER, 0);
	expect("B1fkP(p)ES(s)FD(data)GB1akP(p)EB2kP(p)ES(s)FB2fP(p)ES(s)FD(data)G");
	roles = 1;
}

/* One stream after the other; what comes too late is skipped, what comes too early is wrong. */
static void test_order_of_a_filter(void **unused)
{
	(void)unused;
	roles = 7;
	put_begin(1, FCGI_FILTER, 0);
	put_record(FCGI_DATA, 1, "early", 5, 0);
	expect("B1f!");
	put_begin(1, FCGI_FILTER, 0);
	put_end(FCGI_PARAMS, 1);
	put_end(FCGI_DATA, 1);
	expect("B1fE!");
	put_begin(1, FCGI_FILTER, 0);
	put_end(FCGI_PARAMS, 1);
	put_end(FCGI_STDIN, 1);
	put_end(FCGI_STDIN, 1);
	expect("B1fEF!");
	put_begin(1, FCGI_FILTER, 0);
	put_end(FCGI_PARAMS, 1);
	put_end(FCGI_STDIN, 1);
	put_record(FCGI_DATA, 1, "d", 1, 0);
	put_end(FCGI_ABORT_REQUEST, 1);
	put_record(FCGI_DATA, 1, "late", 4, 0);
	put_end(FCGI_DATA, 1);
	expect("B1fEFD(d)A");
	roles = 1;
}

/* It has no body: one that comes all the same is skipped, be the request in hand or over. */
static void test_body_of_an_authorizer(void **unused)
{
	struct fcgi f = { .roles = 2 };
	struct fcgi_event event;
	char got[TEXT] = "";

	(void)unused;
	put_begin(1, FCGI_AUTHORIZER, 1);
	put_end(FCGI_PARAMS, 1);
	put_record(FCGI_STDIN, 1, "body", 4, 0);
	put_record(FCGI_DATA, 1, "data", 4, 0);
	put_end(FCGI_STDIN, 1);
	put_end(FCGI_DATA, 1);
	for (size_t at = 0; at < input.length;) {
		at += fcgi_next(&f, input.at + at, input.length - at, &event);
		if (event.kind != FCGI_MORE)
			note(got, &f, &event);
	}
	assert_string_equal(got, "B1akE");
	assert_true(fcgi_is_read(&f));
	roles = 2;
	expect("B1akE");
	put_begin(1, FCGI_AUTHORIZER, 0);
	put_record(FCGI_STDIN, 1, "early", 5, 0);
	expect("B1a!");
	roles = 1;
}

/* The rest of a file that nobody wanted, and the next request. */
static void test_forgotten_data(void **unused)
{
	struct fcgi f = { .roles = 7 };
	struct fcgi_event event;
	char got[TEXT] = "";

	(void)unused;
	put_request(1, FCGI_FILTER, 1);
	put_request(1, FCGI_FILTER, 1);
	for (size_t at = 0; at < input.length;) {
		at += fcgi_next(&f, input.at + at, 1, &event);
		if (event.kind != FCGI_MORE)
			note(got, &f, &event);
		if (event.kind == FCGI_DATA_SOME)
			fcgi_forget(&f);
	}
	assert_string_equal(got, "B1fkP(p)ES(s)FD(d)B1fkP(p)ES(s)FD(d)");
	input.length = 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_roles_are_served_as_declared),
		cmocka_unit_test(test_roles_follow_each_other),
		cmocka_unit_test(test_order_of_a_filter),
		cmocka_unit_test(test_body_of_an_authorizer),
		cmocka_unit_test(test_forgotten_data),
	};

	return cmocka_run_group_tests(tests, make_room, free_room);
}
