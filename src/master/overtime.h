/*
 * overtime: requests that take too long: logged (slow-request), or ended (request-timeout).
 */
#ifndef PREFORKD_OVERTIME_H
#define PREFORKD_OVERTIME_H

#include <stdbool.h>
#include <stdint.h>

struct board;
struct conf_pool;
struct roster;

/* Does the pool limit the time of a request? */
bool overtime_concerns(const struct conf_pool *conf);

/* When to look at a pool in which nothing is going on; UINT64_MAX: when something wakes us. A
 * program may take a connection before we see it wait: that wakes nobody. */
uint64_t overtime_rest(const struct conf_pool *conf, uint64_t now);

/* Acts on what gauge_look() has just seen. Returns when to look again if the requests in hand go
 * on; UINT64_MAX: none is. */
uint64_t overtime_follow(const struct roster *roster, const struct board *board, uint64_t now);

#endif
