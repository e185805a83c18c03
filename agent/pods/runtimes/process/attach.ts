import { createWriteStream } from 'node:fs'
import { PassThrough } from 'node:stream'
import { SluiceError } from '../../../../api/errors.ts'
import type { AttachOptions, ExecSession } from '../runtime.ts'
import type { Container } from './container.ts'

/** A container's own input and output from now on; letting go of them does nothing to it. */
export function attachTo(container: Container, { stdin }: AttachOptions, signal: AbortSignal): ExecSession {
  signal.throwIfAborted()
  if (!container.running) throw new SluiceError('SLUICE_POD_EXEC', `Container ${container.record.name} does not run`)
  const [stdout, stderr] = [new PassThrough(), new PassThrough()]
  // The program goes on whether anybody reads here or not: what does not fit is left out.
  const copy = (to: PassThrough) => (chunk: Buffer) => {
    if (!to.writableNeedDrain && to.writable) to.write(chunk)
  }
  const [toOut, toErr] = [copy(stdout), copy(stderr)]
  const { output } = container
  const letGo = Promise.withResolvers<undefined>()
  output.on('stdout', toOut).on('stderr', toErr)
  const input = stdin ? createWriteStream(container.sandbox.pipesOf(container.record.name).stdin) : undefined
  input?.on('error', () => {})
  const end = () => {
    output.off('stdout', toOut).off('stderr', toErr)
    stdout.end()
    stderr.end()
    input?.destroy()
    letGo.resolve(undefined)
  }
  signal.addEventListener('abort', end, { once: true })
  const exited = Promise.race([container.ended.then(() => container.record.exit?.code), letGo.promise])
  void exited.then(end)
  return {
    stdin: input,
    stdout,
    stderr,
    resize: () => {},
    exited,
    [Symbol.asyncDispose]: () => {
      end()
      return Promise.resolve()
    },
  }
}
