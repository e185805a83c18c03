/** Tables of `hub.db`. `epoch.received` is a JSON list of ranges: which batches of one store of a gateway are here. */
export const HUB_SCHEMA = `
CREATE TABLE IF NOT EXISTS epoch(
  id INTEGER PRIMARY KEY, gateway TEXT NOT NULL, epoch TEXT NOT NULL, ordinal INTEGER NOT NULL,
  received TEXT NOT NULL DEFAULT '[]', UNIQUE(gateway, epoch)
) STRICT;
CREATE TABLE IF NOT EXISTS counters(
  gateway TEXT PRIMARY KEY, batches INTEGER NOT NULL DEFAULT 0, duplicates INTEGER NOT NULL DEFAULT 0,
  gaps INTEGER NOT NULL DEFAULT 0, lost_values INTEGER NOT NULL DEFAULT 0,
  unexplained INTEGER NOT NULL DEFAULT 0, refused_rows INTEGER NOT NULL DEFAULT 0
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS assigned(
  gateway TEXT NOT NULL, uid TEXT NOT NULL, key TEXT NOT NULL, since_ms INTEGER NOT NULL, PRIMARY KEY(gateway, uid)
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS stream(
  id INTEGER PRIMARY KEY, gateway TEXT NOT NULL, seq INTEGER NOT NULL, backfill INTEGER NOT NULL,
  received_ms INTEGER NOT NULL, bytes INTEGER NOT NULL, frame TEXT NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS stream_state(
  only INTEGER PRIMARY KEY CHECK(only = 1), first_id INTEGER NOT NULL, trimmed_rows INTEGER NOT NULL
) STRICT;
`

/** One row of `stream` as SQLite gives it. */
interface RawRow {
  readonly id: number
  readonly gateway: string
  readonly seq: number
  readonly backfill: number
  readonly received_ms: number
  readonly frame: string
}

export const rawRow = (row: Record<string, unknown>): RawRow => ({
  id: Number(row['id']),
  gateway: String(row['gateway']),
  seq: Number(row['seq']),
  backfill: Number(row['backfill']),
  received_ms: Number(row['received_ms']),
  frame: String(row['frame']),
})
