/*
 * The configuration, from the bytes of a file to a struct conf or a list of mistakes.
 *
 * What is taken is printed, and what was printed is read again as the same, without a difference.
 * What is refused comes with at least one mistake, each one printable line that names its place.
 * What stands behind a line "#include" is the file that "include =" finds, whatever it looks for:
 * nothing of this machine is read.
 */
#include <fcntl.h>
#include <glob.h>
#include <stdbool.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/conf.h"
#include "fuzz.h"

#define MARK "\n#include\n"

int __wrap_glob(const char *pattern, int flags, int (*failed)(const char *, int), glob_t *found);
void __wrap_globfree(glob_t *found);

/* A file without a name that only we can write, as the reader wants it. */
struct file {
	int fd;
	char path[40];
};

static struct file main_file, included, printed;
static bool has_included;
static char *one_path[] = { included.path, NULL };

/* Linked in the place of glob(3), see the Makefile. */
int __wrap_glob(const char *pattern, int flags, int (*failed)(const char *, int), glob_t *found)
{
	(void)pattern;
	(void)flags;
	(void)failed;
	*found = (glob_t){ .gl_pathc = has_included ? 1 : 0, .gl_pathv = one_path };
	return has_included ? 0 : GLOB_NOMATCH;
}

void __wrap_globfree(glob_t *found)
{
	(void)found;
}

static void open_file(struct file *file)
{
	file->fd = memfd_create("conf", MFD_CLOEXEC);
	MUST(file->fd >= 0 && fchmod(file->fd, 0600) == 0);
	snprintf(file->path, sizeof(file->path), "/proc/self/fd/%d", file->fd);
}

static void write_file(const struct file *file, const void *bytes, size_t length)
{
	MUST(ftruncate(file->fd, 0) == 0);
	MUST(pwrite(file->fd, bytes, length, 0) == (ssize_t)length);
}

/* For free(). */
static char *print(const struct conf *conf, size_t *size)
{
	char *text = NULL;
	FILE *out = open_memstream(&text, size);

	MUST(out != NULL);
	conf_print(conf, out);
	MUST(fclose(out) == 0);
	return text;
}

static void differs(const char *pool, const char *key, const char *cost)
{
	fprintf(stderr, "%s of %s (%s) differs\n", key, pool != NULL ? pool : "[preforkd]", cost);
	abort();
}

static void check_taken(const struct conf *conf)
{
	struct err_list errors = { 0 };
	size_t size = 0, size_again = 0;
	char *text = print(conf, &size);

	write_file(&printed, text, size);
	struct conf *again = conf_load(&(struct conf_options){ .file = printed.path }, &errors);
	if (again == NULL) {
		fprintf(stderr, "%s\n%s", errors.items[0].text, text);
		abort();
	}
	char *text_again = print(again, &size_again);
	MUST(size == size_again && memcmp(text, text_again, size) == 0);
	MUST(conf->pool_count == again->pool_count);
	conf_diff(conf, again, differs);
	free(text);
	free(text_again);
	conf_free(again);
}

static void check_mistakes(const struct err_list *errors)
{
	MUST(errors->count > 0 && err_list_code(errors) == 78);
	for (size_t i = 0; i < errors->count; i++) {
		const char *text = errors->items[i].text;

		MUST(strncmp(text, "/proc/self/fd/", 14) == 0 && strchr(text, ':') != NULL);
		for (; *text != '\0'; text++)
			MUST(*text >= ' ' && *text <= '~');
	}
}

static void split_input(const uint8_t *data, size_t size)
{
	const uint8_t *mark = memmem(data, size, MARK, sizeof(MARK) - 1);
	size_t first = mark != NULL ? (size_t)(mark - data) + 1 : size;

	has_included = mark != NULL;
	write_file(&main_file, data, first);
	if (has_included)
		write_file(&included, mark + sizeof(MARK) - 1, size - first - sizeof(MARK) + 2);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct err_list errors = { 0 };

	if (main_file.path[0] == '\0') {
		open_file(&main_file);
		open_file(&included);
		open_file(&printed);
	}
	split_input(data, size);
	struct conf *conf = conf_load(&(struct conf_options){ .file = main_file.path }, &errors);
	if (conf != NULL)
		check_taken(conf);
	else
		check_mistakes(&errors);
	conf_free(conf);
	err_list_free(&errors);
	return 0;
}
