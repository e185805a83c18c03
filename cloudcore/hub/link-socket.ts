/** What a session needs of its connection; a WebSocket in production, a script in tests. */
export interface LinkSocket {
  send(text: string): void
  /** Sends what is queued, then closes. */
  close(code: number, reason: string): void
  /** Stops and resumes reading, so that TCP slows the sender down. */
  pause(): void
  resume(): void
  /** Bytes accepted by `send` that the network has not taken yet. */
  readonly bufferedBytes: number
}
