/*
 * carryconf: the text goes through the same parser as a file, as a file in memory.
 */
#include "master/carryconf.h"

#include <errno.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <unistd.h>

#include "common/conf.h"
#include "common/err.h"
#include "master/state.h"

struct text {
	unsigned number;
	char *file; /* -c, for the title */
	struct state_blob text;
};

static const struct state_row text_rows[] = {
	STATE_ROW(NUMBER, struct text, number, UINT_MAX),
	STATE_ROW(STRING, struct text, file, 0),
	STATE_ROW(BLOB, struct text, text, 0),
	STATE_END,
};

/* What check_conf() has filled in. */
struct found {
	uid_t uid, listen_uid;
	gid_t gid, listen_gid;
	struct state_blob gids;
	char *home, *user_name, *program;
};

static const struct state_row found_rows[] = {
	STATE_ROW(NUMBER, struct found, uid, UINT32_MAX),
	STATE_ROW(NUMBER, struct found, gid, UINT32_MAX),
	STATE_ROW(NUMBER, struct found, listen_uid, UINT32_MAX),
	STATE_ROW(NUMBER, struct found, listen_gid, UINT32_MAX),
	STATE_ROW(BLOB, struct found, gids, 0),
	STATE_ROW(STRING, struct found, home, 0),
	STATE_ROW(STRING, struct found, user_name, 0),
	STATE_ROW(STRING, struct found, program, 0),
	STATE_END,
};

void carryconf_save(const struct conf *conf, unsigned number, struct state_out *out)
{
	char *bytes = NULL;
	struct text text = { .number = number, .file = conf->file };
	FILE *to = open_memstream(&bytes, &text.text.length);

	if (to != NULL) {
		conf_print(conf, to);
		fclose(to);
	}
	text.text.bytes = bytes;
	state_put(out, "conf", text_rows, &text);
	free(bytes);
	for (size_t i = 0; i < conf->pool_count; i++) {
		const struct conf_pool *p = conf->pools[i];
		struct found found = { .uid = p->uid,
			.gid = p->gid,
			.listen_uid = p->listen_uid,
			.listen_gid = p->listen_gid,
			.gids = { p->gids, p->gids == NULL ? 0 : p->gid_count * sizeof(gid_t) },
			.home = p->home,
			.user_name = p->user_name,
			.program = p->program };

		state_put(out, "found", found_rows, &found);
	}
}

static struct conf *parse(const struct text *text, struct err *err)
{
	struct err_list errors = { 0 };
	struct conf *conf = NULL;
	char path[64];
	int fd = memfd_create("preforkd-conf", MFD_CLOEXEC);

	if (fd < 0 || fchmod(fd, 0600) != 0 ||
		write(fd, text->text.bytes, text->text.length) != (ssize_t)text->text.length) {
		err_set(err, EX_OSERR, "cannot write a memfd: %s", strerror(errno));
	} else {
		snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
		conf = conf_load(&(struct conf_options){ .file = path }, &errors);
		if (conf == NULL)
			err_set(err, EX_UNAVAILABLE,
				"the configuration in use cannot be read by this version: %.400s",
				errors.count > 0 ? errors.items[0].text : "out of memory");
		err_list_free(&errors);
	}
	if (fd >= 0)
		close(fd);
	return conf;
}

static int take_found(struct state_in *in, struct conf_pool *pool, struct err *err)
{
	struct found found = { .uid = (uid_t)-1, .gid = (gid_t)-1 };

	if (state_take(in, "found", found_rows, &found, err) != 0)
		return -1;
	if (found.uid == (uid_t)-1 || found.gid == (gid_t)-1 || (geteuid() == 0 && found.uid == 0))
		return err_set(
			err, EX_SOFTWARE, "the state does not name the user of a pool's workers");
	pool->uid = found.uid;
	pool->gid = found.gid;
	pool->listen_uid = found.listen_uid;
	pool->listen_gid = found.listen_gid;
	pool->gids = found.gids.bytes;
	pool->gid_count = found.gids.length / sizeof(gid_t);
	pool->home = found.home;
	pool->user_name = found.user_name;
	pool->program = found.program;
	return 0;
}

struct conf *carryconf_restore(struct state_in *in, unsigned *number, struct err *err)
{
	struct text text = { 0 };
	struct conf *conf = NULL;

	if (state_take(in, "conf", text_rows, &text, err) == 0 && text.text.bytes != NULL)
		conf = parse(&text, err);
	free(text.text.bytes);
	if (conf == NULL) {
		free(text.file);
		return NULL;
	}
	*number = text.number;
	free(conf->file);
	conf->file = text.file;
	for (size_t i = 0; i < conf->pool_count; i++)
		if (take_found(in, conf->pools[i], err) != 0) {
			conf_free(conf);
			return NULL;
		}
	return conf;
}
