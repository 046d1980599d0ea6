/*
 * names: the words that status and metrics use for what the ledger says in numbers.
 */
#ifndef PREFORKD_NAMES_H
#define PREFORKD_NAMES_H

#include <stdint.h>

/* "unknown" for a number that has no name. */
const char *names_phase(uint32_t number);
const char *names_result(uint32_t number);
const char *names_retirement(uint32_t number);
const char *names_kind(uint32_t number);
const char *names_pool(uint32_t number);
const char *names_worker(uint32_t number); /* NULL where it is not known */
const char *names_death(uint32_t number);
const char *names_level(uint32_t number);

#endif
