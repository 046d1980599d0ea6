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

/* Acts on what gauge_look() has just seen. Returns when to look again if the requests in hand go
 * on; UINT64_MAX: none is. */
uint64_t overtime_follow(const struct roster *roster, const struct board *board, uint64_t now);

#endif
