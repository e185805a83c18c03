import type { DatabaseSync } from 'node:sqlite'
import { SluiceError } from '../../api/errors.ts'

/** Each step brings the file from version `index` to `index + 1`; steps that were released are never edited. */
const STEPS: readonly string[] = [
  `
  CREATE TABLE meta (name TEXT PRIMARY KEY, value) WITHOUT ROWID;
  CREATE TABLE objects (
    kind TEXT NOT NULL, key TEXT NOT NULL, uid TEXT NOT NULL, rev TEXT NOT NULL, body TEXT NOT NULL,
    PRIMARY KEY (kind, key)
  ) WITHOUT ROWID;
  CREATE TABLE twins (
    uid TEXT NOT NULL, property TEXT NOT NULL, state TEXT, known TEXT,
    PRIMARY KEY (uid, property)
  ) WITHOUT ROWID;
  CREATE TABLE outbox (
    seq INTEGER PRIMARY KEY, bytes INTEGER NOT NULL, vals INTEGER NOT NULL, at_ms INTEGER NOT NULL, body TEXT NOT NULL
  );
  CREATE TABLE outbox_totals (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    batches INTEGER NOT NULL, bytes INTEGER NOT NULL, vals INTEGER NOT NULL, dropped_vals INTEGER NOT NULL
  );
  INSERT INTO outbox_totals VALUES (1, 0, 0, 0, 0);
  CREATE TABLE gaps (first INTEGER PRIMARY KEY, last INTEGER NOT NULL, vals INTEGER NOT NULL);
  CREATE TABLE desires (id TEXT PRIMARY KEY, body TEXT NOT NULL) WITHOUT ROWID;
  `,
  `
  CREATE TABLE mapper_storage (
    protocol TEXT NOT NULL, key TEXT NOT NULL, value TEXT NOT NULL,
    PRIMARY KEY (protocol, key)
  ) WITHOUT ROWID;
  `,
]

/**
 * Brings the file to the newest version; throws `SLUICE_STORE_NEWER` for a file a later release wrote. The version is
 * read inside the transaction that changes it: whatever another process did meanwhile is seen.
 */
export function migrate(database: DatabaseSync): void {
  if (versionOf(database) === STEPS.length) return
  database.exec('BEGIN IMMEDIATE')
  try {
    const version = versionOf(database)
    if (version > STEPS.length) {
      throw new SluiceError(
        'SLUICE_STORE_NEWER',
        `The store agent.db has version ${version}, this agent knows ${STEPS.length}`,
        {
          hint: 'Run the agent release that wrote it, or give another data directory.',
        },
      )
    }
    for (const step of STEPS.slice(version)) database.exec(step)
    database.exec(`PRAGMA user_version=${STEPS.length}; COMMIT`)
  } catch (error) {
    if (database.isTransaction) database.exec('ROLLBACK')
    throw error
  }
}

const versionOf = (database: DatabaseSync) =>
  Number(database.prepare('PRAGMA user_version').get()?.['user_version'] ?? 0)
