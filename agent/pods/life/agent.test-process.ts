import { existsSync, readFileSync, watch } from 'node:fs'
import { dirname, join } from 'node:path'
import { systemClock } from '../../../api/clock.ts'
import type { PodLinkObject } from '../../../api/link/messages.ts'
import { ProcessRuntime } from '../runtimes/process/runtime.ts'
import { PodStatusBoard } from '../status-board.ts'
import { PodKeeper } from './keeper.ts'

/**
 * The part of an agent that keeps pods, as a process of its own that a test may kill: objects come from a file, every change of a
 * status goes to the output as a line. Arguments: the folder, the file.
 */
const [folder, file] = process.argv.slice(2) as [string, string]
const read = (): PodLinkObject[] =>
  existsSync(file) ? (JSON.parse(readFileSync(file, 'utf8')) as PodLinkObject[]) : []
let objects = read()
let told = 0
const board = new PodStatusBoard(() => {
  const { change, items } = board.since(told)
  told = change
  for (const item of items) process.stdout.write(`${JSON.stringify(item)}\n`)
})
const runtime = new ProcessRuntime({ folder: join(folder, 'pods'), clock: systemClock, onTrouble: () => {} })
const keeper = new PodKeeper({
  ...{ runtime, clock: systemClock, board, objects: () => objects },
  leash: () => ({ begins: true, ownWill: true, work: 'runs' }),
  node: { name: 'gw-1', hostIp: '192.0.2.7', allocatableCpu: 2, allocatableMemoryBytes: 2 ** 30 },
  folders: { disk: join(folder, 'disk'), memory: join(folder, 'memory'), logs: join(folder, 'logs') },
  refuse: () => undefined,
  onEvent: () => {},
})
watch(dirname(file), () => {
  objects = read()
  keeper.wake()
})
keeper.wake()
