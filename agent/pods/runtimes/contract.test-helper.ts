import { randomUUID } from 'node:crypto'
import { readFileSync, watch, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { text } from 'node:stream/consumers'
import { CriLines } from '../../streams/cri-lines.ts'
import { busyboxImage, type MadeImage } from '../images/busybox.test-helper.ts'
import type { ExecSession, PodRuntime } from './runtime.ts'

/** Resolves when the runtime itself has told of a change after which this is so. */
export async function whenChanged(
  runtime: PodRuntime,
  wanted: () => Promise<boolean>,
  signal: AbortSignal,
): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>()
  const look = () => void wanted().then((so) => so && resolve(), reject)
  const stop = runtime.onChange(look)
  signal.addEventListener('abort', () => reject(signal.reason), { once: true })
  look()
  await promise.finally(stop)
}

/** The lines of a log as they are in the file. */
export const linesOf = (path: string): string[] => readFileSync(path, 'utf8').split('\n').slice(0, -1)

/** As `kubectl logs` shows it. */
export function words(path: string): string[] {
  const lines = new CriLines({})
  const all = Buffer.concat([lines.take(readFileSync(path)), lines.end()])
  return all.toString('utf8').split('\n').slice(0, -1)
}

/** Resolves when the log has a line with exactly these words. */
export async function whenLogged(path: string, line: string, signal: AbortSignal): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>()
  const look = () => words(path).includes(line) && resolve()
  const watcher = watch(dirname(path), look)
  signal.addEventListener('abort', () => reject(signal.reason), { once: true })
  look()
  await promise.finally(() => watcher.close())
}

/** Gives a command its whole input and takes everything it says. */
export async function outcome(session: ExecSession, input?: string) {
  session.stdin?.end(input)
  const [out, err] = await Promise.all([text(session.stdout), session.stderr === undefined ? '' : text(session.stderr)])
  return { out, err, code: await session.exited }
}

/** What is said first on a connection. */
export async function firstOf(stream: AsyncIterable<Buffer>): Promise<string> {
  for await (const chunk of stream) return chunk.toString('utf8')
  return ''
}

/** An image with one byte of its last layer changed: it is not what its digest says. */
export function lyingImage(name: string): MadeImage {
  // A layer that no other image has: of one that is there by its digest nobody reads the bytes again.
  const image = busyboxImage({ name, layers: [{ own: randomUUID() }] })
  const placeOf = (digest: string) => join(image.folder, 'blobs/sha256', digest.slice(7))
  const manifest: { layers: { digest: string }[] } = JSON.parse(readFileSync(placeOf(image.manifestDigest), 'utf8'))
  const layer = placeOf(manifest.layers.at(-1)!.digest)
  const bytes = readFileSync(layer)
  bytes[bytes.length >> 1]! ^= 0xff
  writeFileSync(layer, bytes)
  return image
}
