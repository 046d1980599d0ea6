/*
 * params: looked up one by one; a request has a few dozen.
 */
#include "worker/params.h"

#include <string.h>

const char *params_get(char *const *params, const char *name)
{
	size_t length = strlen(name);

	for (; *params != NULL; params++)
		if (**params == *name && strncmp(*params, name, length) == 0 &&
			(*params)[length] == '=')
			return *params + length + 1;
	return "";
}

static size_t before_query(const char *path)
{
	return (size_t)(strchrnul(path, '?') - path);
}

/* Web servers cut the script's name and what is behind it apart; a few send neither. */
void params_path(char *const *params, struct params_path *out)
{
	const char *script = params_get(params, "SCRIPT_NAME"), *info = "";

	if (*script == '\0')
		script = params_get(params, "REQUEST_URI");
	else
		info = params_get(params, "PATH_INFO");
	out->piece[0] = script;
	out->length[0] = before_query(script);
	out->piece[1] = info;
	out->length[1] = script[out->length[0]] == '?' ? 0 : before_query(info);
}
