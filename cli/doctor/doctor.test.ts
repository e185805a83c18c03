import { generateKeyPairSync } from 'node:crypto'
import { chmodSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { colorless } from '../output.ts'
import { examine, reportLines } from '../verbs/doctor.ts'
import type { CheckResult, Patient } from './check.ts'

let root: string
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'sluice-doctor-'))
})
afterEach(() => rmSync(root, { recursive: true, force: true }))

function put(path: string, text: string, mode = 0o644): string {
  const file = join(root, path)
  mkdirSync(dirname(file), { recursive: true })
  writeFileSync(file, text)
  chmodSync(file, mode)
  return file
}

const patient = (changes: Partial<Patient> = {}): Patient => ({
  root,
  data: join(root, 'data'),
  env: { PATH: join(root, 'bin') },
  uid: 4242,
  groups: [4242],
  user: 'otto',
  platform: 'linux',
  nodeVersion: '24.1.0',
  nowMs: Date.parse('2026-06-01T00:00:00Z'),
  // Any free port: what else runs on the machine of the test is not the patient's trouble.
  ports: { api: 0, hub: 0 },
  signal: new AbortController().signal,
  ...changes,
})

const find = (checks: readonly CheckResult[], group: string, name: string) =>
  checks.filter((check) => check.group === group && check.name === name)

describe('sluice doctor', () => {
  it('finds nothing to complain about on a sound machine', async () => {
    put('bin/kubectl', '#!', 0o755)
    put('proc/sys/kernel/osrelease', '6.6.1\n')
    put('proc/meminfo', 'MemAvailable:  900000 kB\n')
    put('proc/self/limits', 'Max open files            65536                65536                files\n')
    put('sys/fs/cgroup/cgroup.controllers', 'cpu memory pids\n')
    const checks = await examine(patient())
    expect(checks.filter(({ status }) => status === 'fail' || status === 'warn')).toEqual([])
  })

  it('names the group to join when a serial adapter may not be opened', async () => {
    put('dev/ttyUSB0', '', 0o600)
    put('etc/group', 'root:x:0:\n')
    const [check] = find(await examine(patient()), 'serial', '/dev/ttyUSB0')
    expect(check).toMatchObject({ status: 'fail' })
    expect(check?.fix).toMatch(/^sudo usermod -aG \S+ otto, then log in again$/)
  })

  it('prefers the name by id, sees the latency timer and who has the adapter open', async () => {
    put('dev/ttyUSB0', '', 0o666)
    mkdirSync(join(root, 'dev/serial/by-id'), { recursive: true })
    symlinkSync('../../ttyUSB0', join(root, 'dev/serial/by-id/usb-FTDI_line'))
    put('sys/bus/usb-serial/devices/ttyUSB0/latency_timer', '16\n')
    put('proc/77/comm', 'minicom\n')
    mkdirSync(join(root, 'proc/77/fd'))
    symlinkSync('/dev/ttyUSB0', join(root, 'proc/77/fd/3'))
    put('proc/78/comm', 'ModemManager\n')
    const checks = await examine(patient())
    const says = find(checks, 'serial', '/dev/serial/by-id/usb-FTDI_line')
    expect(says.map(({ status }) => status)).toEqual(['ok', 'warn', 'warn'])
    expect(says[1]?.says).toContain('process 77 (minicom)')
    expect(says[2]?.fix).toBe('echo 1 | sudo tee /sys/bus/usb-serial/devices/ttyUSB0/latency_timer')
    expect(find(checks, 'serial', 'ModemManager')[0]?.status).toBe('warn')
  })

  it('complains about a clock that was never set', async () => {
    const checks = await examine(patient({ nowMs: Date.parse('1970-01-01T00:02:00Z') }))
    expect(find(checks, 'machine', 'clock')[0]).toMatchObject({ status: 'fail', says: expect.stringContaining('1970') })
  })

  it('complains about a Node that is too old', async () => {
    const checks = await examine(patient({ nodeVersion: '20.20.2' }))
    expect(find(checks, 'machine', 'Node')[0]?.status).toBe('fail')
  })

  it('complains about private keys that others can read', async () => {
    const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
    const pem = privateKey.export({ type: 'pkcs8', format: 'pem' }).toString()
    put('data/identity/good.key', pem, 0o600)
    const open = put('data/identity/open.key', pem, 0o644)
    const checks = await examine(patient())
    expect(find(checks, 'data folder', 'identity/good.key')[0]?.status).toBe('ok')
    expect(find(checks, 'data folder', 'identity/open.key')[0]).toMatchObject({
      status: 'fail',
      fix: `chmod 600 ${open}`,
    })
  })

  it('takes a socket nobody listens on for a crashed agent', async () => {
    put('data/agent.sock', '')
    const [check] = find(await examine(patient()), 'reach', 'agent')
    expect(check).toMatchObject({ status: 'fail', fix: expect.stringContaining('sluice agent --data') })
  })

  it('says what to do under every warning and failure', async () => {
    put('dev/ttyACM0', '', 0o600)
    const checks = await examine(patient({ nodeVersion: '18.0.0', nowMs: 0 }))
    for (const check of checks) expect(check.fix !== undefined).toBe(check.status === 'warn' || check.status === 'fail')
    const text = reportLines(checks, colorless, 80).join('\n')
    expect(text).toContain('✗ Node: 18.0.0 is too old')
    expect(text).toMatch(/\d+ checks: \d+ failed, \d+ to look at$/)
  })
})
