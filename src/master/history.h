/*
 * history: how many reloads or upgrades there were, and what became of the last.
 */
#ifndef PREFORKD_HISTORY_H
#define PREFORKD_HISTORY_H

struct ledger_changes;

void history_begins(struct ledger_changes *changes);
void history_done(struct ledger_changes *changes);
void history_failed(struct ledger_changes *changes, const char *why);

#endif
