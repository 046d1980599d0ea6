/*
 * Helpers of the tests that load configurations: a folder of their own to work in, files in it, and
 * the mistakes as one text. Each test program has its own copy.
 */
#ifndef PREFORKD_TEST_CONF_FILES_H
#define PREFORKD_TEST_CONF_FILES_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/conf.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static char conf_files_folder[] = "/tmp/preforkd-test.XXXXXX";

/* For the group of tests: everything happens in a new folder, which goes with all that is in it. */
static inline int conf_files_setup(void **unused)
{
	(void)unused;
	umask(022);
	return mkdtemp(conf_files_folder) == NULL ? -1 : chdir(conf_files_folder);
}

static inline int conf_files_remove(
	const char *path, const struct stat *st, int type, struct FTW *walk)
{
	(void)st;
	(void)type;
	(void)walk;
	return remove(path);
}

static inline int conf_files_teardown(void **unused)
{
	(void)unused;
	if (chdir("/") != 0)
		return -1;
	return nftw(conf_files_folder, conf_files_remove, 8, FTW_DEPTH | FTW_PHYS);
}

static inline void write_bytes(const char *name, const char *bytes, size_t length)
{
	int fd = open(name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, bytes, length), (ssize_t)length);
	close(fd);
}

static inline void write_file(const char *name, const char *text)
{
	write_bytes(name, text, strlen(text));
}

static inline struct conf *load(const struct conf_options *options)
{
	struct err_list errors = { 0 };
	struct conf *conf = conf_load(options, &errors);

	if (conf == NULL)
		fail_msg("%s", errors.items[0].text);
	assert_int_equal(errors.count, 0);
	return conf;
}

static inline struct conf *load_text(const char *text)
{
	write_file("t", text);
	return load(&(struct conf_options){ .file = "t" });
}

/* All sentences, each with a newline; the code goes to *code. */
static inline char *mistakes(const struct conf_options *options, int *code)
{
	struct err_list errors = { 0 };
	struct conf *conf = conf_load(options, &errors);
	char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	for (size_t i = 0; i < errors.count; i++)
		fprintf(out, "%s\n", errors.items[i].text);
	fclose(out);
	*code = err_list_code(&errors);
	assert_true((conf == NULL) == (errors.count > 0));
	conf_free(conf);
	err_list_free(&errors);
	return text;
}

static inline void check_mistakes(
	const struct conf_options *options, int code, const char *expected)
{
	int found;
	char *text = mistakes(options, &found);

	assert_string_equal(text, expected);
	assert_int_equal(found, code);
	free(text);
}

#endif
