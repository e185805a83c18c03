/** One connection to the hub, as the session sees it: ordered text frames, no more. */
export interface Transport {
  send(text: string): void
  /** Bytes handed over and not yet on the wire. */
  readonly bufferedBytes: number
  /** Address of the other end, where there is one. */
  readonly peerAddress?: string | undefined
  /** Ends the connection; `onClose` is called once. */
  close(reason: string): void
}

export interface TransportEvents {
  onOpen(transport: Transport): void
  /** `undefined` for a binary frame. */
  onMessage(text: string | undefined): void
  /** Some of what was buffered went out. */
  onDrain(): void
  /** Called exactly once, also when the connection never opened. */
  onClose(reason: string): void
}

/** Starts a connection; returns at once. */
export type Dial = (events: TransportEvents) => { close(reason: string): void }
