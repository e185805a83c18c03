import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface, type Interface } from 'node:readline'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { EnergySnapshot } from '../../agent/energy/snapshot.ts'
import type { PolicyExplanation } from '../../agent/policy/explain.ts'
import { requestJson } from '../../api/client/http.ts'
import type { LinkObject } from '../../api/link/messages.ts'
import { canMount } from '../harness/small-disk.ts'
import { eventually } from '../harness/until.ts'

const gateway: LinkObject = {
  kind: 'Gateway',
  key: '/gw-own',
  rev: '1',
  object: {
    uid: 'own',
    generation: 1,
    spec: { policy: { stages: [{ name: 'saver', when: [{ batteryBelow: 30 }], after: '1s', hold: '1s', poll: 4 }] } },
  },
}

// Without root there is no view of the file system of one's own: see `unshare --mount`.
describe.skipIf(!canMount)('the power of a gateway, from the kernel’s own paths', { timeout: 60_000 }, () => {
  let directory: string
  let child: ChildProcessWithoutNullStreams
  let lines: Interface

  beforeAll(async () => {
    directory = mkdtempSync(join(tmpdir(), 'sluice-own-power-'))
    const manifest = join(directory, 'objects.json')
    writeFileSync(manifest, JSON.stringify([gateway]))
    const program = join(import.meta.dirname, 'own-power-main.ts')
    child = spawn('unshare', ['--mount', process.execPath, program, directory, manifest])
    child.stderr.resume()
    lines = createInterface({ input: child.stdout })
    await once(lines, 'line')
  }, 60_000)
  afterAll(async () => {
    const ended = once(child, 'exit')
    child.stdin.end('stop\n')
    await ended
    rmSync(directory, { recursive: true, force: true })
  })

  const tell = async (line: string) => {
    const told = once(lines, 'line')
    child.stdin.write(`${line}\n`)
    await told
  }
  const ask = <T>(path: string) =>
    requestJson<T>(
      { kind: 'socket', path: join(directory, 'agent.sock') },
      { path, signal: AbortSignal.timeout(10_000) },
    )
  const energyWhen = (wants: (energy: EnergySnapshot) => boolean, what: string) =>
    eventually(async () => {
      const energy = await ask<EnergySnapshot>('/v1/energy')
      return wants(energy) ? energy : undefined
    }, what)

  it('is measured by a battery that knows only charge and a negative current', async () => {
    const { battery, power } = await energyWhen(({ power: known }) => known?.by === 'battery', 'power by the battery')
    expect(battery).toMatchObject({ percent: 50, state: 'discharging', source: 'measured' })
    expect(battery?.watts).toBeCloseTo(-9, 3)
    expect(battery?.energyJ).toBeCloseTo(2 * 12 * 3600, -1)
    expect(power).toMatchObject({ source: 'measured', supply: 'battery' })
    expect(power?.watts).toBeCloseTo(9, 3)
  })

  it('brings the stage that its policy has for a low charge, and ends it again', async () => {
    const stage = () => ask<PolicyExplanation>('/v1/policy').then((policy) => policy.stage)
    expect(await stage()).toBe('normal')
    await tell('capacity 20')
    await tell('charge_now 800000')
    await eventually(async () => (await stage()) === 'saver', 'the stage saver')
    await tell('charge_now 3600000')
    await tell('capacity 90')
    await eventually(async () => (await stage()) === 'normal', 'the end of the stage')
  })

  it('goes on as an estimate, said to be one, when the battery is pulled out', async () => {
    // On a file system in memory a removed file can still be read; a socket without its pack says so itself.
    await tell('present 0')
    const { power } = await energyWhen(({ power: known }) => known?.source === 'estimated', 'an estimate')
    expect(power).toMatchObject({ by: 'model' })
  })
})
