import { chmodSync, closeSync, existsSync, fstatSync, mkdirSync, openSync, readSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import type { PodContainer } from '../../../api/link/pods.ts'
import { CriLines } from '../../streams/cri-lines.ts'
import type { ContainerView, Mount } from '../runtimes/runtime.ts'
import type { VolumeFolders } from './volumes.ts'

/** Where a program may say why it ends, unless its container says otherwise (core/v1 Container). */
const DEFAULT_PATH = '/dev/termination-log'
/** What a kubelet takes of the file, and of the log in its place. */
const MAX_BYTES = 4096
const MAX_LOG_BYTES = 2048
const MAX_LOG_LINES = 80
/** Each line of a log has a time before it. */
const TAIL_BYTES = 16 * 1024

const fileOf = (folders: VolumeFolders, uid: string, name: string, attempt: number): string =>
  join(folders.disk, uid, 'last-words', name, String(attempt))

/** The file that a container's last words go into, made anew for each attempt; whoever it runs as may write there. */
export function lastWordsMount(folders: VolumeFolders, uid: string, wanted: PodContainer, attempt: number): Mount {
  const path = fileOf(folders, uid, wanted.name, attempt)
  mkdirSync(dirname(path), { recursive: true, mode: 0o711 })
  if (!existsSync(path)) writeFileSync(path, '')
  chmodSync(path, 0o666)
  return { hostPath: path, containerPath: wanted.terminationMessagePath || DEFAULT_PATH, readOnly: false }
}

/** What a container that has ended left to be told of it; undefined when it left nothing. */
export function lastWords(
  folders: VolumeFolders,
  uid: string,
  wanted: PodContainer,
  { attempt, exit, logPath }: ContainerView,
): string | undefined {
  if (exit === undefined) return undefined
  const said = partOf(fileOf(folders, uid, wanted.name, attempt), 'start', MAX_BYTES).toString('utf8')
  if (said !== '') return said
  if (wanted.terminationMessagePolicy !== 'FallbackToLogsOnError' || exit.code === 0) return undefined
  const lines = new CriLines({})
  const tail = partOf(logPath, 'end', TAIL_BYTES)
  // It may begin in the middle of a line.
  const whole = tail.length < TAIL_BYTES ? tail : tail.subarray(tail.indexOf(0x0a) + 1)
  const text = Buffer.concat([lines.take(whole), lines.end()]).toString('utf8')
  const last = text
    .split('\n')
    .slice(-MAX_LOG_LINES - 1)
    .join('\n')
  return Buffer.from(last).subarray(-MAX_LOG_BYTES).toString('utf8') || undefined
}

function partOf(path: string, from: 'start' | 'end', bytes: number): Buffer {
  let fd: number | undefined
  try {
    fd = openSync(path, 'r')
    const { size } = fstatSync(fd)
    const part = Buffer.alloc(Math.min(size, bytes))
    return part.subarray(0, readSync(fd, part, 0, part.length, from === 'start' ? 0 : size - part.length))
  } catch {
    return Buffer.alloc(0)
  } finally {
    if (fd !== undefined) closeSync(fd)
  }
}
