import type { Readable, Writable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { SluiceError } from '../../api/errors.ts'
import type { StreamEndpoint } from '../../api/link/stream-endpoint.ts'
import { CHANNEL } from '../../api/link/streams.ts'
import { endStatus, failureStatus } from './command-status.ts'

/** What the caller of a command wants to have connected. */
export interface Wishes {
  readonly stdin: boolean
  readonly stdout: boolean
  readonly stderr: boolean
  readonly tty: boolean
}

/** The caller's side of a running command, whichever protocol it came by. */
export interface CommandCaller {
  readonly stdin: Readable | undefined
  readonly stdout: Writable | undefined
  readonly stderr: Writable | undefined
  readonly resize: Readable | undefined
  /** Tells how it ended, after all output, and closes. */
  finish(status: string): Promise<void>
  /** Aborted when the caller went away. */
  readonly gone: AbortSignal
}

/** Connects a caller with a command that runs, until it has ended or the caller is gone. */
export async function connectCommand(caller: CommandCaller, stream: StreamEndpoint): Promise<void> {
  const { stdin, stdout, stderr, resize, gone } = caller
  const leave = () => stream.fail(new SluiceError('SLUICE_STREAM_CANCELLED', 'whoever ran the command went away'))
  gone.addEventListener('abort', leave, { once: true })
  if (gone.aborted) leave()
  // Input may end early, or never: neither decides how the command ends.
  if (stdin !== undefined) void pipeline(stdin, stream.channel(CHANNEL.stdin)).catch(() => {})
  else stream.channel(CHANNEL.stdin).end()
  if (resize !== undefined) void pipeline(resize, stream.channel(CHANNEL.resize)).catch(() => {})
  const outputs = [
    [CHANNEL.stdout, stdout],
    [CHANNEL.stderr, stderr],
  ] as const
  const drained = Promise.allSettled(
    outputs.map(([id, output]) =>
      // Done when the caller has taken all of it, not when it has been handed on: how it ended comes after that.
      output === undefined ? stream.channel(id).resume() : pipeline(stream.channel(id), output),
    ),
  )
  let status: string
  try {
    status = endStatus(await stream.outcome)
    await drained
  } catch (thrown) {
    status = failureStatus(thrown)
  }
  gone.removeEventListener('abort', leave)
  if (!gone.aborted) await caller.finish(status)
}
