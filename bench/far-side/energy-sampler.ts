import { ChildProcess } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { systemClock } from '../../api/clock.ts'
import type * as Parts from './energy-parts.ts'

/**
 * A process that only samples: `energy-sampler.ts BUNDLE ROOT SECONDS`. Prints what it cost as one JSON line. The memory is
 * that of the code, its descriptors and its sums, beyond a process that has loaded nothing of it.
 */
const [bundle = '', root = '', seconds = '10'] = process.argv.slice(2)

let spawned = 0
const spawn = Reflect.get(ChildProcess.prototype, 'spawn') as (...args: unknown[]) => unknown
Reflect.set(ChildProcess.prototype, 'spawn', function (this: ChildProcess, ...args: unknown[]) {
  spawned++
  return spawn.apply(this, args)
})

const residentKiB = (): number => Number(/VmRSS:\s+(\d+)/.exec(readFileSync('/proc/self/status', 'utf8'))?.[1])
const pause = (ms: number) => new Promise<void>((resolve) => systemClock.after(ms, resolve))
const collect = (): void => globalThis.gc?.()

// Whoever measures reads files and sets timers too, so that is in the figure before; and every agent shows local time.
residentKiB()
new Date().getHours()
await pause(500)
collect()
const beforeKiB = residentKiB()

const { openEnergy, Alerts, Radio, policyFacts }: typeof Parts = await import(bundle)
const kept = new Map<string, string>()
let samples = 0
const energy = openEnergy({
  clock: systemClock,
  log: () => undefined,
  roots: { sysRoot: `${root}/sys`, procRoot: `${root}/proc` },
  storage: {
    get: (key) => kept.get(key),
    put: (entries) => {
      for (const [key, value] of Object.entries(entries)) if (value !== undefined) kept.set(key, value)
    },
  },
})
const hub = { connected: true, peerAddress: '192.0.2.1', roundTripMs: 24, jitterMs: 2, lossRatio: 0 }
using radio = new Radio({ clock: systemClock, procRoot: `${root}/proc`, sysRoot: `${root}/sys`, hub: () => hub })
const alerts = new Alerts()
// As an agent does it: interfaces, the way to the hub and the conditions with every sample of power.
using _count = energy.observe(() => {
  samples++
  radio.sample()
  alerts.take(policyFacts(energy.vitals(), radio.way, hub), systemClock.monotonic())
})
energy.start()
// Loading the code leaves garbage, which the engine collects once, 8 to 10 s later: that is the start's cost, not sampling's.
await pause(12_000)
samples = 0
const cpu = process.cpuUsage()
const startMs = performance.now()
await pause(Number(seconds) * 1000)
const { user, system } = process.cpuUsage(cpu)
const elapsedMs = performance.now() - startMs
const counted = samples
collect()
const afterKiB = residentKiB()
const { meters, packs, thermal, attribution } = energy.snapshot()
const networks = radio.networks().length
await energy[Symbol.asyncDispose]()
process.stdout.write(
  `${JSON.stringify({
    cpuPercent: (user + system) / 10 / elapsedMs,
    samples: counted,
    seconds: elapsedMs / 1000,
    spawned,
    memoryMiB: (afterKiB - beforeKiB) / 1024,
    meters: meters.length,
    packs: packs.length,
    zones: thermal?.zones?.length ?? 0,
    pods: attribution?.pods.length ?? 0,
    networks,
  })}\n`,
)
