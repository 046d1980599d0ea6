/*
 * module: dlopen(3) of an application, in the worker, after its privileges are gone.
 */
#include "worker/module.h"

#include <dlfcn.h>
#include <stdio.h>
#include <string.h>

#include "common/conf.h"
#include "preforkd_app.h"
#include "worker/app_counter.h"

#define ABI_FIRST 1 /* has no roles */
#define ROLES (PREFORKD_APP_RESPONDER | PREFORKD_APP_AUTHORIZER | PREFORKD_APP_FILTER)

/* ABI 1 ends before the member: what stands there is not ours to read. */
unsigned module_roles(const struct preforkd_app *app)
{
	return app->abi == ABI_FIRST || app->roles == 0 ? PREFORKD_APP_RESPONDER : app->roles;
}

static const struct preforkd_app *built_in(const char *name, char *why, size_t size)
{
	static const struct preforkd_app *const apps[] = { &app_counter };

	for (size_t i = 0; i < sizeof(apps) / sizeof(apps[0]); i++)
		if (strcmp(apps[i]->name, name) == 0)
			return apps[i];
	snprintf(why, size, "there is no built-in application %s", name);
	return NULL;
}

const struct preforkd_app *module_load(const struct conf_pool *pool, char *why, size_t size)
{
	if (pool->kind == CONF_APP)
		return built_in(pool->argv[0], why, size);
	void *object = dlopen(pool->argv[0], RTLD_NOW | RTLD_LOCAL);
	if (object == NULL) {
		snprintf(why, size, "cannot load the module: %s", dlerror());
		return NULL;
	}
	const struct preforkd_app *app = dlsym(object, "preforkd_app");
	if (app == NULL)
		snprintf(why, size, "%s is no preforkd module: it does not export preforkd_app",
			pool->argv[0]);
	else if (app->abi < ABI_FIRST || app->abi > PREFORKD_APP_ABI)
		snprintf(why, size, "%s is built for ABI %u, this is ABI %d", pool->argv[0],
			app->abi, PREFORKD_APP_ABI);
	else if (app->handle == NULL || app->name == NULL)
		snprintf(why, size, "%s has no name or no handle function", pool->argv[0]);
	else if ((module_roles(app) & ~ROLES) != 0)
		snprintf(why, size, "%s declares roles that there are not: %#x", pool->argv[0],
			module_roles(app) & ~ROLES);
	else
		return app;
	return NULL;
}
