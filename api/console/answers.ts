import type { ServerResponse } from 'node:http'

type Watcher = (status: number, body: unknown) => void

const watchers = new WeakMap<ServerResponse, Watcher>()

/** Calls `watcher` with what this response is answered with: the audit log writes down how a write ended. */
export function watchAnswer(response: ServerResponse, watcher: Watcher): void {
  watchers.set(response, watcher)
}

/** Whoever answers with JSON says so here. */
export function tellAnswer(response: ServerResponse, status: number, body: unknown): void {
  watchers.get(response)?.(status, body)
}
