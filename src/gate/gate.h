/*
 * gate: the process that speaks HTTP: status, metrics and commands.
 */
#ifndef PREFORKD_GATE_H
#define PREFORKD_GATE_H

#include "common/gatejob.h"

/* Gives up all privileges, serves until the master is gone, and never returns. */
void gate_main(const struct gatejob *job) __attribute__((noreturn));

#endif
