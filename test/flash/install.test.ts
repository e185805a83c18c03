import { execFileSync } from 'node:child_process'
import {
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { Clock } from '../../api/clock.ts'
import { VirtualClock } from '../../api/virtual-clock.ts'
import { install, plannedFiles, plannedSteps } from '../../cli/install/install.ts'
import { programIn } from '../../cli/install/program.ts'
import type { System } from '../../cli/install/system.ts'
import { uninstall } from '../../cli/install/uninstall.ts'
import { agentUnit } from '../../cli/install/unit.ts'
import { type Folder, temporaryFolder } from '../harness/folder.ts'
import { missingTools } from './tools.ts'

let folder: Folder
let commands: string[]
let owners: Map<string, string>
beforeEach(() => {
  folder = temporaryFolder('install')
  commands = []
  owners = new Map()
  mkdirSync(join(root(), 'etc'), { recursive: true })
  writeFileSync(join(root(), 'etc/passwd'), 'root:x:0:0::/root:/bin/sh\n')
  writeFileSync(join(root(), 'etc/group'), 'root:x:0:\ndialout:x:20:\n')
})
afterEach(() => folder[Symbol.dispose]())

const root = () => join(folder.path, 'root')
const inside = (path: string) => join(root(), path)

/** A file tree; useradd and usermod do in it what they would do. */
const system = (over: Partial<System> = {}): System => ({
  root: root(),
  booted: false,
  clock: new VirtualClock(),
  signal: new AbortController().signal,
  async run(argv) {
    commands.push(argv.filter((word) => word !== root()).join(' '))
    if (argv[0] === 'useradd') {
      writeFileSync(inside('etc/passwd'), 'sluice:x:990:991::/var/lib/sluice:/usr/sbin/nologin\n', { flag: 'a' })
      writeFileSync(inside('etc/group'), 'sluice:x:991:\n', { flag: 'a' })
    }
    if (argv[0] === 'usermod') {
      writeFileSync(
        inside('etc/group'),
        readFileSync(inside('etc/group'), 'utf8').replace('dialout:x:20:', 'dialout:x:20:sluice'),
      )
    }
    return { code: 0, text: '' }
  },
  chown: (path, uid, gid) => void owners.set(path.slice(root().length).replace(/\.new$/, ''), `${uid}:${gid}`),
  answers: async () => true,
  ...over,
})

const program = (version: string, content = 'x') => {
  const place = join(folder.path, `program-${version}-${content}`)
  const own = join(place, 'node_modules/sluice')
  mkdirSync(join(own, 'dist'), { recursive: true })
  mkdirSync(join(place, `node_modules/node-linux-${process.arch}/bin`), { recursive: true })
  writeFileSync(join(own, 'package.json'), JSON.stringify({ version }))
  writeFileSync(join(own, 'dist/sluice.js'), content)
  writeFileSync(join(place, `node_modules/node-linux-${process.arch}/bin/node`), '')
  return programIn(place, process.arch)
}
const wish = (version = '1.0.0', over = {}) => ({
  program: program(version),
  bluetoothHci: false,
  token: undefined,
  start: true,
  ...over,
})
const mode = (path: string) => (statSync(inside(path)).mode & 0o7777).toString(8)

describe('sluice install', () => {
  it('lays down user, folders, program, unit and token, each with its mode and owner', async () => {
    const { changed, started } = await install(system(), wish('1.0.0', { token: 'sluice1.abc' }))
    expect(started).toBe(false)
    expect(commands).toEqual([
      'useradd --prefix --system --user-group --home-dir /var/lib/sluice --no-create-home --shell /usr/sbin/nologin sluice',
      'usermod --prefix --append --groups dialout sluice',
    ])
    expect([
      mode('var/lib/sluice'),
      mode('etc/sluice'),
      mode('var/lib/sluice/join.token'),
      mode('etc/sluice/agent.env'),
    ]).toEqual(['700', '750', '600', '640'])
    expect(owners.get('/var/lib/sluice')).toBe('990:991')
    expect(owners.get('/var/lib/sluice/join.token')).toBe('990:991')
    expect(owners.get('/etc/sluice/agent.env')).toBe('0:991')
    expect(readFileSync(inside('var/lib/sluice/join.token'), 'utf8')).toBe('sluice1.abc\n')
    expect(changed.join('\n')).not.toContain('sluice1.abc')
    expect(readlinkSync(inside('opt/sluice/current'))).toMatch(/^\/opt\/sluice\/versions\/1\.0\.0-[0-9a-f]{8}$/)
    expect(readlinkSync(inside('etc/systemd/system/multi-user.target.wants/sluice-agent.service'))).toBe(
      '/etc/systemd/system/sluice-agent.service',
    )
    expect(
      existsSync(join(root(), readlinkSync(inside('opt/sluice/current')), 'node_modules/sluice/dist/sluice.js')),
    ).toBe(true)
  })

  it('done twice changes nothing, and leaves the settings of a person alone', async () => {
    await install(system(), wish())
    writeFileSync(inside('etc/sluice/agent.env'), 'SLUICE_AGENT_OPTIONS=--mqtt-port 1883\n')
    commands = []
    expect(await install(system(), wish())).toMatchObject({ changed: [], replaced: null })
    expect(commands).toEqual([])
    expect(readFileSync(inside('etc/sluice/agent.env'), 'utf8')).toContain('1883')
  })

  it('goes on where a cut left it', async () => {
    await install(system(), wish())
    rmSync(inside('opt/sluice/current'))
    const version = readdirSync(inside('opt/sluice/versions'))[0]!
    execFileSync('mv', [inside(`opt/sluice/versions/${version}`), inside(`opt/sluice/versions/${version}.partial`)])
    await install(system(), wish())
    expect(readdirSync(inside('opt/sluice/versions'))).toEqual([version])
    expect(lstatSync(inside('opt/sluice/current')).isSymbolicLink()).toBe(true)
  })

  it('keeps the version before an upgrade, and no more', async () => {
    for (const version of ['1.0.0', '1.1.0', '1.2.0', '1.3.0']) await install(system(), wish(version))
    const left = readdirSync(inside('opt/sluice/versions'))
    expect(left).toHaveLength(2)
    expect(left.some((name) => name.startsWith('1.3.0-'))).toBe(true)
  })

  it('tells two builds of one version apart', () => {
    expect(program('1.0.0', 'one').id).not.toBe(program('1.0.0', 'other').id)
  })

  it('shows everything and does nothing with --dry-run', () => {
    const dry = { ...wish(), token: 'sluice1.secret' }
    const steps = plannedSteps(system(), dry).join('\n')
    for (const words of ['useradd', '/opt/sluice/versions', '/var/lib/sluice', 'sluice-agent.service', 'join.token']) {
      expect(steps).toContain(words)
    }
    const files = plannedFiles(system(), dry)
    expect([...files.keys()]).toContain('/etc/systemd/system/sluice-agent.service')
    expect(steps + [...files.values()].join('')).not.toContain('sluice1.secret')
    expect(existsSync(inside('opt'))).toBe(false)
    expect(commands).toEqual([])
  })

  it('refuses a folder without a package, and one without a Node for this machine', () => {
    expect(() => programIn(folder.path, process.arch)).toThrow(
      expect.objectContaining({ code: 'SLUICE_INSTALL_PROGRAM' }),
    )
    expect(() => programIn(program('1.0.0').folder, 's390x')).toThrow(/node-linux-s390x/)
  })
})

describe('sluice install on a running system', () => {
  /** Every wait is over at once, and its time has passed. */
  const hurried = (): Clock => {
    let nowMs = 0
    return {
      now: () => nowMs,
      monotonic: () => nowMs,
      after(delayMs, fn) {
        nowMs += delayMs
        queueMicrotask(fn)
        return { cancel() {} }
      },
    }
  }

  it('starts the service and waits until it stays up', async () => {
    let looks = 0
    const answers = async () => ++looks !== 2
    const result = await install(system({ booted: true, clock: hurried(), answers }), wish())
    expect(result.started).toBe(true)
    expect(commands.slice(-2)).toEqual(['systemctl daemon-reload', 'systemctl restart sluice-agent.service'])
    // Up, down, and then up for three looks in a row.
    expect(looks).toBe(5)
  })

  it('goes back to the version before when the new one does not come up', async () => {
    await install(system(), wish('1.0.0'))
    const before = readlinkSync(inside('opt/sluice/current'))
    commands = []
    const broken = system({ booted: true, clock: hurried(), answers: async () => false })
    await expect(install(broken, wish('2.0.0'))).rejects.toMatchObject({
      code: 'SLUICE_INSTALL_UNHEALTHY',
      message: expect.stringContaining('the version before runs again'),
    })
    expect(readlinkSync(inside('opt/sluice/current'))).toBe(before)
    expect(commands.filter((line) => line.includes('restart'))).toHaveLength(2)
  })

  it('says what systemd says when it cannot be started', async () => {
    const run: System['run'] = async (argv) =>
      argv[0] === 'systemctl' ? { code: 1, text: 'Unit is masked.' } : system().run(argv)
    await expect(install(system({ booted: true, clock: hurried(), run }), wish())).rejects.toMatchObject({
      code: 'SLUICE_INSTALL_START',
      message: expect.stringContaining('Unit is masked.'),
    })
  })
})

describe('sluice uninstall', () => {
  it('keeps data and settings unless it is told to purge them; twice is no error', async () => {
    await install(system(), wish())
    writeFileSync(inside('var/lib/sluice/identity.json'), '{}')
    await uninstall(system(), { purge: false })
    expect(existsSync(inside('opt/sluice'))).toBe(false)
    expect(existsSync(inside('etc/systemd/system/sluice-agent.service'))).toBe(false)
    expect(existsSync(inside('var/lib/sluice/identity.json'))).toBe(true)
    await uninstall(system(), { purge: true })
    expect(existsSync(inside('var/lib/sluice'))).toBe(false)
    expect(commands.at(-1)).toBe('userdel --prefix sluice')
    writeFileSync(inside('etc/passwd'), '')
    expect(await uninstall(system(), { purge: true })).toEqual([])
  })
})

describe('the unit', () => {
  const missing = missingTools('systemd-analyze')

  it.each([false, true])('has capabilities only where Bluetooth without BlueZ was asked for: %s', (bluetoothHci) => {
    const unit = agentUnit({ bluetoothHci, groups: ['dialout'] })
    expect(/^AmbientCapabilities=(.*)$/m.exec(unit)?.[1]).toBe(bluetoothHci ? 'CAP_NET_RAW CAP_NET_ADMIN' : '')
    for (const line of [
      'NoNewPrivileges=yes',
      'ProtectSystem=strict',
      'DevicePolicy=closed',
      'DeviceAllow=char-ttyUSB rw',
    ]) {
      expect(unit.split('\n')).toContain(line)
    }
  })

  it.skipIf(missing.length > 0)(
    `is one that systemd has nothing against${missing.length > 0 ? ` (${missing.join()})` : ''}`,
    () => {
      const file = join(folder.path, 'sluice-agent.service')
      for (const bluetoothHci of [false, true]) {
        // The program is not there; everything else is as written.
        writeFileSync(file, agentUnit({ bluetoothHci, groups: [] }).replace('/usr/local/bin/sluice', '/bin/true'))
        const output = execFileSync('sh', ['-c', 'systemd-analyze verify --man=no "$1" 2>&1', 'sh', file], {
          encoding: 'utf8',
        })
        expect(output.split('\n').filter((line) => line.includes('sluice-agent'))).toEqual([])
      }
    },
  )
})
