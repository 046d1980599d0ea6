/* Every mistake in a configuration file, with its line and its sentence. */
#include "conf_files.h"

#include <sys/stat.h>
#include <sysexits.h>

#define POOL "[pool a]\nlisten = *:1\napp = counter\n"

static void check_text(const char *text, const char *expected)
{
	write_file("t", text);
	check_mistakes(&(struct conf_options){ .file = "t" }, EX_CONFIG, expected);
}

struct broken {
	const char *text, *expected;
};

static void check_all(const struct broken *rows, size_t count)
{
	for (size_t i = 0; i < count; i++)
		check_text(rows[i].text, rows[i].expected);
}

static void test_broken_lines(void **unused)
{
	static const struct broken rows[] = {
		{ "", "t: there is no pool: give a [pool NAME] section\n" },
		{ "# nothing\n\n;\n[preforkd]\n",
			"t: there is no pool: give a [pool NAME] section\n" },
		{ POOL "workers\n",
			"t:4: the line is neither a section, KEY = VALUE nor a comment\n" },
		{ POOL " = 4\n", "t:4: there is no key before the =\n" },
		{ POOL "workers = 4\n  workers = 5\n",
			"t:5: key \"workers\" is given twice, first in line 4\n" },
		{ POOL "env.A = 1\nenv.a = 2\nenv.A = 1\n",
			"t:6: key \"env.A\" is given twice, first in line 4\n" },
		{ "workers = 4\nnice = 1\n" POOL,
			"t:1: key \"workers\" stands before the first section\n" },
		{ POOL "w\xc3\xb6rkers = 4\n", "t:4: the key has a character that no key has\n" },
		{ POOL "work!ers = 4\n", "t:4: the key has a character that no key has\n" },
		{ POOL "env.A = \xff\n", "t:4: the line is not UTF-8 text\n" },
		{ POOL "env.A = \xed\xa0\x80\nenv.B = \xc0\x80\nenv.C = \xf4\x90\x80\x80\n",
			"t:4: the line is not UTF-8 text\nt:5: the line is not UTF-8 text\n"
			"t:6: the line is not UTF-8 text\n" },
		{ "[pool a\nworkers = x\n", "t:1: the section header does not end with ]\n" },
		{ "[pool a] b\n", "t:1: nothing but a comment may stand behind ]\n" },
		{ "[ ]\n" POOL, "t:1: the section has no name\n" },
		{ POOL "listen-backlog = 1\n\n" POOL,
			"t:6: [pool a] is given twice, first at t:1\n" },
		{ "[preforkd]\n" POOL "[preforkd]\n",
			"t:5: [preforkd] is given twice, first in line 1\n" },
	};
	char line[4010];

	(void)unused;
	check_all(rows, COUNT(rows));
	memset(line, 'k', sizeof(line));
	line[4000] = '=';
	memcpy(line, POOL, strlen(POOL));
	write_bytes("t", line, sizeof(line));
	check_mistakes(
		&(struct conf_options){ .file = "t" }, EX_CONFIG, "t:4: the key is too long\n");
}

static void test_broken_names(void **unused)
{
	static const struct broken rows[] = {
		{ POOL "wokers = 4\n", "t:4: unknown key \"wokers\": did you mean \"workers\"?\n" },
		{ POOL "Workers = 4\n",
			"t:4: unknown key \"Workers\": did you mean \"workers\"?\n" },
		{ POOL "request_terminate_timeout = 4\n",
			"t:4: unknown key \"request_terminate_timeout\"\n" },
		{ POOL "process-idle = 4\n", "t:4: unknown key \"process-idle\"\n" },
		{ POOL "log = stderr\n", "t:4: key \"log\" belongs in [preforkd]\n" },
		{ POOL "lgo-level = info\n",
			"t:4: unknown key \"lgo-level\": did you mean \"log-level\", in "
			"[preforkd]?\n" },
		{ "[preforkd]\nenv.A = b\n" POOL,
			"t:2: key \"env.A\" belongs in a [pool NAME] section\n" },
		{ "[preforkd]\nwokers = 4\n" POOL,
			"t:2: unknown key \"wokers\": did you mean \"workers\", in a [pool NAME] "
			"section?\n" },
		{ "[prefrokd]\n" POOL,
			"t:1: unknown section [prefrokd]: did you mean [preforkd]?\n" },
		{ "[www]\nlisten = 9000\n",
			"t:1: unknown section [www]: did you mean [pool www]?\n" },
		{ "[pol www]\n", "t:1: unknown section [pol www]: did you mean [pool www]?\n" },
		{ "[Pool  www]\n", "t:1: unknown section [Pool  www]: did you mean [pool www]?\n" },
		{ "[pool]\n", "t:1: a pool has a name: [pool NAME]\n" },
		{ "[what is this]\n",
			"t:1: unknown section [what is this]: there are [preforkd] and [pool "
			"NAME]\n" },
		{ "[pool a b]\n",
			"t:1: \"a b\" is not a pool's name: 1 to 32 letters, digits, -, _ and "
			".\n" },
		{ "[pool a/b]\n",
			"t:1: \"a/b\" is not a pool's name: 1 to 32 letters, digits, -, _ and "
			".\n" },
		{ "[pool aaaaaaaaaabbbbbbbbbbccccccccccddd]\n",
			"t:1: \"aaaaaaaaaabbbbbbbbbbccccccccccddd\" is not a pool's name: 1 to 32 "
			"letters, digits, -, _ and .\n" },
		{ POOL "[pool \xc3\xa4]\n",
			"t:4: \"\\303\\244\" is not a pool's name: 1 to 32 letters, digits, -, _ "
			"and .\n" },
		{ POOL "env.2A = b\n",
			"t:4: env.2A: \"2A\" is not the name of an environment variable\n" },
		{ POOL "env. = b\n",
			"t:4: env.: \"\" is not the name of an environment variable\n" },
		{ POOL "pass-env = A B-C\n",
			"t:4: pass-env: \"B-C\" is not the name of an environment variable\n" },
	};

	(void)unused;
	check_all(rows, COUNT(rows));
}

static void test_broken_values(void **unused)
{
	static const struct broken rows[] = {
		{ "[preforkd]\nlog-level = notce\n" POOL,
			"t:2: log-level: unknown log-level \"notce\": did you mean \"notice\"?\n" },
		{ "[preforkd]\nlog-level =\n" POOL, "t:2: log-level: a value is missing\n" },
		{ "[preforkd]\nlog = stdrr\n" POOL,
			"t:2: log: unknown destination \"stdrr\": did you mean \"stderr\"?\n" },
		{ "[preforkd]\nlog = my.log\n" POOL,
			"t:2: log: \"my.log\" is not syslog, stderr or an absolute path\n" },
		{ "[preforkd]\npid-file = run/x.pid\n" POOL,
			"t:2: pid-file: \"run/x.pid\" is not an absolute path\n" },
		{ POOL "output = nul\n",
			"t:4: output: unknown destination \"nul\": did you mean \"null\"?\n" },
		{ POOL "workers = 0\n", "t:4: workers: 0 is out of range: 1 to 10000\n" },
		{ POOL "workers = 10001\n", "t:4: workers: 10001 is out of range: 1 to 10000\n" },
		{ POOL "workers = 8..2\n",
			"t:4: workers: 8..2 is out of order: MIN is more than MAX\n" },
		{ POOL "workers = 0..0\n", "t:4: workers: 0 is out of range: 1 to 10000\n" },
		{ POOL "workers = 2..\n", "t:4: workers: a number is missing\n" },
		{ POOL "workers = 2..4..8\n", "t:4: workers: \"4..8\" is not a whole number\n" },
		{ POOL "max-age = 101d\n", "t:4: max-age: 101d is out of range: 0 to 100d\n" },
		{ POOL "workers =\n", "t:4: workers: a value is missing\n" },
		{ POOL "workers = 4 # four\n",
			"t:4: workers: \"4 # four\" is not a whole number\n" },
		{ POOL "listen-backlog = 65536\n",
			"t:4: listen-backlog: 65536 is out of range: 1 to 65535\n" },
		{ POOL "listen-mode = 1777\n",
			"t:4: listen-mode: mode 1777 is out of range: 0 to 0777\n" },
		{ POOL "umask = 9\n", "t:4: umask: \"9\" is not an octal mode, as in 0660\n" },
		{ POOL "nice = -21\n", "t:4: nice: -21 is out of range: -20 to 19\n" },
		{ POOL "nice = 20\n", "t:4: nice: 20 is out of range: -20 to 19\n" },
		{ POOL "nice = --1\n", "t:4: nice: \"--1\" is not a whole number\n" },
		{ POOL "start-timeout = 0\n",
			"t:4: start-timeout: 0 is out of range: 1ms to 1d\n" },
		{ POOL "stop-timeout = 86401\n",
			"t:4: stop-timeout: 86401 is out of range: 1ms to 1d\n" },
		{ POOL "stop-signal = KILL\n",
			"t:4: stop-signal: KILL cannot be handled by a program\n" },
		{ POOL "no-new-privileges = maybe\n",
			"t:4: no-new-privileges: \"maybe\" is neither yes nor no\n" },
		{ POOL "limit-nofile = 64K\n",
			"t:4: limit-nofile: \"64K\" is not a whole number\n" },
		{ POOL "limit-as = lots\n",
			"t:4: limit-as: \"lots\" is not a size: write a whole number of bytes, or "
			"with K, M, G or T, as in 64M\n" },
		{ POOL "directory = srv\n", "t:4: directory: \"srv\" is not an absolute path\n" },
		{ POOL "chroot = 'a' b\n",
			"t:4: chroot: text follows the closing quote: quote all of the value\n" },
		{ POOL "user = a:b\n", "t:4: user: \"a:b\" is not the name of a user or group\n" },
		{ POOL "groups = a ''\n",
			"t:4: groups: \"\" is not the name of a user or group\n" },
		{ POOL "allow = 10.0.0.1/8\n",
			"t:4: allow: \"10.0.0.1/8\" has bits beyond its prefix: write "
			"10.0.0.0/8\n" },
		{ POOL "env.A = \"b\n", "t:4: env.A: a quote (\") is not closed\n" },
	};

	(void)unused;
	check_all(rows, COUNT(rows));
}

static void test_broken_programs(void **unused)
{
	static const struct broken rows[] = {
		{ "[pool a]\nlisten = *:1\n",
			"t:1: [pool a] runs nothing: give one of app, module and command\n" },
		{ "[pool a]\nlisten = *:1\napp =\ncommand = ; none\n",
			"t:1: [pool a] runs nothing: give one of app, module and command\n" },
		{ "[pool a]\napp = counter\n", "t:1: [pool a] has no address: give listen\n" },
		{ "[pool a]\n",
			"t:1: [pool a] has no address: give listen\n"
			"t:1: [pool a] runs nothing: give one of app, module and command\n" },
		{ "[pool a]\nlisten =\napp = counter\n", "t:2: listen: a value is missing\n" },
		{ POOL "command = /bin/true\n",
			"t:4: command: app is given in line 3 already: a pool runs one of app, "
			"module and command\n" },
		{ "[pool a]\nlisten = *:1\ncommand = 'x\nmodule = /a.so\napp = counter\n",
			"t:3: command: a quote (') is not closed\n"
			"t:4: module: command is given in line 3 already: a pool runs one of app, "
			"module and command\n"
			"t:5: app: command is given in line 3 already: a pool runs one of app, "
			"module and command\n" },
		{ "[pool a]\nlisten = *:1\napp = conuter\n",
			"t:3: app: unknown application \"conuter\": did you mean \"counter\"?\n" },
		{ "[pool a]\nlisten = *:1\napp = hello\n",
			"t:3: app: unknown application \"hello\"\n" },
		{ "[pool a]\nlisten = *:1\napp = counter 5\n",
			"t:3: app: a built-in application takes no arguments\n" },
		{ "[pool a]\nlisten = *:1\nmodule = a.so\n",
			"t:3: module: \"a.so\" is not an absolute path\n" },
		{ "[pool a]\nlisten = *:1\ncommand = ./a\n",
			"t:3: command: \"./a\" is neither an absolute path nor the bare name of a "
			"program\n" },
		{ "[pool a]\nlisten = *:1\ncommand = '' x\n",
			"t:3: command: \"\" is neither an absolute path nor the bare name of a "
			"program\n" },
		{ "[pool a]\nlisten = *:1 *:2 *:3\ncommand = a\nworkers = 2\n",
			"t:4: workers: 2 cannot serve 3 addresses: each worker of a command serves "
			"one\n" },
		{ "[pool a]\ncommand = a\nlisten = *:1 *:2 *:3 *:4 *:5\n",
			"t:3: workers: 4 cannot serve 5 addresses: each worker of a command serves "
			"one\n" },
		{ "[pool a]\nlisten = *:1 [::1]:2 *:01\napp = counter\n",
			"t:2: listen: *:1 is given twice\n" },
		{ POOL "[pool b]\napp = counter\nlisten = @x *:1\n",
			"t:6: listen: *:1 belongs to [pool a] already, at t:2\n" },
	};

	(void)unused;
	check_all(rows, COUNT(rows));
}

/* One run shows all, in the order of the lines, whichever room found them. */
static void test_all_at_once(void **unused)
{
	(void)unused;
	check_text("x = 1\n"
		   "[preforkd]\n"
		   "log-levl = info\n"
		   "junk\n"
		   "[pool a]\n"
		   "  listen = 9000\n"
		   "\tworkers = many\n"
		   "= 3\n"
		   "[pool b]\n"
		   "listen = *:1\n"
		   "user ! = x\n"
		   "[pool a]\n"
		   "nice = 99\n",
		"t:1: key \"x\" stands before the first section\n"
		"t:3: unknown key \"log-levl\": did you mean \"log-level\"?\n"
		"t:4: the line is neither a section, KEY = VALUE nor a comment\n"
		"t:5: [pool a] runs nothing: give one of app, module and command\n"
		"t:6: listen: \"9000\" needs a host, as in 127.0.0.1:9000, or *:9000 for every "
		"address\n"
		"t:7: workers: \"many\" is not a whole number\n"
		"t:8: there is no key before the =\n"
		"t:9: [pool b] runs nothing: give one of app, module and command\n"
		"t:11: the key has a character that no key has\n"
		"t:12: [pool a] is given twice, first at t:5\n"
		"t:13: nice: 99 is out of range: -20 to 19\n");
}

static void test_unreadable(void **unused)
{
	static char big[(1 << 20) + 1];
	const struct conf_options missing = { .file = "none" }, directory = { .file = "." },
				  file = { .file = "t" };

	(void)unused;
	check_mistakes(&missing, EX_CONFIG, "none: cannot be read: No such file or directory\n");
	check_mistakes(&directory, EX_CONFIG, ".: is not a regular file\n");
	assert_int_equal(mkfifo("fifo", 0600), 0);
	check_mistakes(&(struct conf_options){ .file = "fifo" }, EX_CONFIG,
		"fifo: is not a regular file\n");
	write_bytes("t", POOL "\nuser = a\0b\n", strlen(POOL) + 12);
	check_mistakes(&file, EX_CONFIG, "t:5: NUL byte\n");
	/* Few lines: the reader's list of them costs the square of their number. */
	memset(big, ';', sizeof(big));
	for (size_t i = 1023; i < sizeof(big); i += 1024)
		big[i] = '\n';
	write_bytes("t", big, sizeof(big));
	check_mistakes(&file, EX_CONFIG, "t: is larger than 1 MiB\n");
	write_bytes("t", big, sizeof(big) - 1);
	check_mistakes(&file, EX_CONFIG, "t: there is no pool: give a [pool NAME] section\n");
	for (size_t i = 0; i + 4 <= sizeof(big); i += 4)
		memcpy(big + i, "a=b\n", 4);
	write_bytes("t", big, 10000 * 4);
	check_mistakes(&file, EX_CONFIG,
		"t: there is no pool: give a [pool NAME] section\n"
		"t:1: key \"a\" stands before the first section\n");
	write_bytes("t", big, 10001 * 4);
	check_mistakes(&file, EX_CONFIG,
		"t:10001: there are more than 10000 sections and keys in this file\n");
}

/* Root runs what the file says: nobody else may write it. */
static void test_foreign_files(void **unused)
{
	(void)unused;
	if (geteuid() != 0)
		skip();
	write_file("t", POOL);
	assert_int_equal(chmod("t", 0620), 0);
	check_mistakes(&(struct conf_options){ .file = "t" }, EX_CONFIG,
		"t: can be written by its group or by others: only root may\n");
	assert_int_equal(chmod("t", 0602), 0);
	check_mistakes(&(struct conf_options){ .file = "t" }, EX_CONFIG,
		"t: can be written by its group or by others: only root may\n");
	assert_int_equal(chmod("t", 0600), 0);
	assert_int_equal(chown("t", 4711, 0), 0);
	check_mistakes(&(struct conf_options){ .file = "t" }, EX_CONFIG,
		"t: belongs to user 4711: it must belong to root\n");
	assert_int_equal(chown("t", 0, 0), 0);
	conf_free(load(&(struct conf_options){ .file = "t" }));
}

static void test_includes(void **unused)
{
	struct conf *conf;

	(void)unused;
	assert_int_equal(mkdir("[d]", 0700), 0);
	assert_int_equal(mkdir("[d]/pools.d", 0700), 0);
	write_file("[d]/t", "[preforkd]\ninclude = pools.d/*.conf ; all\n" POOL);
	write_file("[d]/pools.d/b.conf", "[pool b]\nlisten = *:2\napp = counter\n");
	write_file("[d]/pools.d/a.conf", "[pool c]\nlisten = *:3\napp = counter\n");
	write_file("[d]/pools.d/off", "broken");
	conf = load(&(struct conf_options){ .file = "[d]/t" });
	assert_int_equal(conf->pool_count, 3);
	assert_string_equal(conf->pools[0]->name, "a");
	assert_string_equal(conf->pools[1]->name, "c");
	assert_string_equal(conf->pools[2]->name, "b");
	assert_string_equal(conf->file, "[d]/t");
	assert_string_equal(conf->files[1], "[d]/pools.d/a.conf");
	assert_string_equal(conf->files[2], "[d]/pools.d/b.conf");
	assert_null(conf->files[3]);
	conf_free(conf);

	write_file("[d]/pools.d/a.conf",
		"wokers = 1\n[pool a]\n[preforkd]\ninclude = *\n[pool c]\nlisten = *:1 *:4\n");
	write_file("[d]/pools.d/b.conf", "[pool b]\nwokers = 1\n");
	check_mistakes(&(struct conf_options){ .file = "[d]/t" }, EX_CONFIG,
		"[d]/pools.d/a.conf:1: key \"wokers\" stands before the first section\n"
		"[d]/pools.d/a.conf:2: [pool a] is given twice, first at [d]/t:3\n"
		"[d]/pools.d/a.conf:3: an included file has [pool NAME] sections only\n"
		"[d]/pools.d/a.conf:5: [pool c] runs nothing: give one of app, module and command\n"
		"[d]/pools.d/a.conf:6: listen: *:1 belongs to [pool a] already, at [d]/t:4\n"
		"[d]/pools.d/b.conf:1: [pool b] has no address: give listen\n"
		"[d]/pools.d/b.conf:1: [pool b] runs nothing: give one of app, module and command\n"
		"[d]/pools.d/b.conf:2: unknown key \"wokers\": did you mean \"workers\"?\n");

	write_file("[d]/t", "[preforkd]\ninclude = /none/*.conf\n" POOL);
	conf_free(load(&(struct conf_options){ .file = "[d]/t" }));
	write_file("[d]/t", "[preforkd]\ninclude = pools.?\n" POOL);
	check_mistakes(&(struct conf_options){ .file = "[d]/t" }, EX_CONFIG,
		"[d]/pools.d: is not a regular file\n");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_broken_lines),
		cmocka_unit_test(test_broken_names),
		cmocka_unit_test(test_broken_values),
		cmocka_unit_test(test_broken_programs),
		cmocka_unit_test(test_all_at_once),
		cmocka_unit_test(test_unreadable),
		cmocka_unit_test(test_foreign_files),
		cmocka_unit_test(test_includes),
	};

	return cmocka_run_group_tests_name("conf", tests, conf_files_setup, conf_files_teardown);
}
