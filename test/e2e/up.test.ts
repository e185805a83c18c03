import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { runSluice, startSluice } from '../cli/run-sluice.ts'
import { FOREIGN_CLUSTER } from '../harness/stack.ts'

let data: string
beforeAll(() => {
  data = mkdtempSync(join(tmpdir(), 'sluice-up-'))
})
afterAll(() => rmSync(data, { recursive: true, force: true }))

/** Everything at once also works with a cluster that is not ours. */
const cluster = FOREIGN_CLUSTER === undefined ? [] : ['--kubeconfig', FOREIGN_CLUSTER]
const up = (...args: string[]) => ['up', '--data', data, ...cluster, ...args]
const lastLine = (text: string): unknown => JSON.parse(text.trimEnd().split('\n').at(-1) ?? '')

const isAlive = (pid: number): boolean => {
  try {
    process.kill(pid, 0)
    return true
  } catch {
    return false
  }
}

describe('sluice up --demo', { timeout: 120_000 }, () => {
  it('reads a serial meter and a TCP drive, writes to the drive, and ends by itself', async () => {
    const ports = ['--api-port', '0', '--hub-port', '0']
    const { finished, printed } = startSluice(up('--demo', '--for', '12s', '--json', ...ports))
    await printed('wrote default/drive-1 ramp = 2')
    const { pid } = JSON.parse(readFileSync(join(data, 'cloud.json'), 'utf8')) as { pid: number }
    const { code, stdout, stderr } = await finished
    expect(stderr).toContain('Gateway gw-1 has joined with a token of its own')
    expect(lastLine(stdout)).toMatchObject({
      ok: true,
      devices: 2,
      online: 2,
      rejected: 0,
      timedOut: 0,
      drops: 0,
      restarts: 0,
      kubeconfig: join(data, 'kubeconfig'),
    })
    const { values, writes } = lastLine(stdout) as { values: number; writes: number }
    expect(values).toBeGreaterThan(17)
    expect(writes).toBeGreaterThanOrEqual(3)
    expect(code).toBe(0)
    expect(isAlive(pid)).toBe(false)
  })

  it('is back with everything at the next start, answers the other verbs, and stops on Ctrl-C', async () => {
    const { child, finished, printed } = startSluice(up('--demo'))
    await printed('Gateway gw-1 is back')
    await printed('wrote default/drive-1')
    const [ls, viaCloud, set, refused, unknown, again] = await Promise.all([
      runSluice('device', 'ls', '--data', data, '--json'),
      runSluice('device', 'get', 'meter-1', '--cloud', '--data', data, '--json'),
      runSluice('device', 'set', 'drive-1', 'ramp=3', '--data', data),
      runSluice('device', 'set', 'drive-1', 'ramp=500', '--data', data),
      runSluice('device', 'get', 'nobody', '--data', data),
      runSluice('up', '--data', data),
    ])
    const { items } = JSON.parse(ls.stdout) as { items: { name: string }[] }
    expect(items.map(({ name }) => name).sort()).toEqual(['drive-1', 'meter-1'])
    expect(JSON.parse(viaCloud.stdout)).toMatchObject({ model: 'energy-meter', gateway: 'gw-1' })
    expect(set.stdout).toMatch(/^✓ default\/drive-1 ramp = 3 {2}(applied|synced)\n$/)
    expect(set.code).toBe(0)
    expect(refused.stderr).toContain('SLUICE_TWIN_VALUE_REFUSED')
    expect(refused.code).toBe(4)
    expect(unknown.code).toBe(2)
    expect(again.stderr).toContain('SLUICE_CLI_ALREADY_RUNNING')
    expect(again.code).toBe(1)
    child.kill('SIGINT')
    const { code, stdout } = await finished
    expect(stdout).toContain('Stopping; everything is kept for the next start')
    expect(code).toBe(0)
  })
})

describe('sluice up with a wrong file', () => {
  it('says what is wrong before it starts anything', async () => {
    const { code, stderr } = await runSluice(...up('--device', join(data, 'nowhere.yaml')))
    expect(code).toBe(2)
    expect(stderr).toContain('SLUICE_CLI_FILE')
  })
})
