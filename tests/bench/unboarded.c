/*
 * unboarded: what the program would be without a scoreboard. Linked in place of the functions by
 * which a worker writes its page and takes the time (--wrap), to measure what they cost. What it
 * has of the size of a pool does not matter here: it must be fixed.
 */
#include <stdint.h>

#include "common/board.h"
#include "worker/params.h"

uint64_t __wrap_clock_us(void);
void __wrap_board_begin(const struct board_seat *seat, uint64_t now);
void __wrap_board_describe(const struct board_seat *seat, const struct board_request *request);
void __wrap_board_end(const struct board_seat *seat, const struct board_answer *answer);
void __wrap_board_hold(const struct board_seat *seat, unsigned connections);
const char *__wrap_params_get(char *const *params, const char *name);
void __wrap_params_path(char *const *params, struct params_path *out);

uint64_t __wrap_clock_us(void)
{
	return 0;
}

void __wrap_board_begin(const struct board_seat *seat, uint64_t now)
{
	(void)seat, (void)now;
}

void __wrap_board_describe(const struct board_seat *seat, const struct board_request *request)
{
	(void)seat, (void)request;
}

void __wrap_board_end(const struct board_seat *seat, const struct board_answer *answer)
{
	(void)seat, (void)answer;
}

void __wrap_board_hold(const struct board_seat *seat, unsigned connections)
{
	(void)seat, (void)connections;
}

const char *__wrap_params_get(char *const *params, const char *name)
{
	(void)params, (void)name;
	return "";
}

void __wrap_params_path(char *const *params, struct params_path *out)
{
	(void)params;
	*out = (struct params_path){ { "", "" }, { 0, 0 } };
}
