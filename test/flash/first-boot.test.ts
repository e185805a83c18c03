import { spawn } from 'node:child_process'
import { chmodSync, existsSync, readdirSync, readlinkSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { runSluice } from '../cli/run-sluice.ts'
import { Assembly } from '../harness/assembly.ts'
import { type Folder, temporaryFolder } from '../harness/folder.ts'
import { eventually } from '../harness/until.ts'
import { bundleFolder, canBeMachine, Machine, packBundle } from './machine.ts'
import { BOOKWORM, copyFromCard, makeImage } from './pi-image.ts'
import { missingTools } from './tools.ts'

const cannot = [...missingTools('mcopy', 'mkfs.vfat', 'sfdisk', 'unshare'), ...(canBeMachine ? [] : ['root'])]

describe.skipIf(cannot.length > 0)(`the first boot of a card${cannot.length > 0 ? ` (needs ${cannot})` : ''}`, () => {
  let folder: Folder
  let house: Assembly
  let machine: Machine
  let token: string

  beforeAll(async () => {
    folder = temporaryFolder('first-boot')
    const at = (name: string) => join(folder.path, name)
    house = await Assembly.start()
    token = (await house.core.createToken({ gateway: 'gw-7' })).token
    await bundleFolder(at('bundle'))
    packBundle(at('bundle'), at('bundle.tar.gz'))
    makeImage(at('pi.img'), { bootMib: 96, files: BOOKWORM })
    makeImage(at('card.img'), { bootMib: 100, files: {} })
    writeFileSync(at('t'), `${token}\n`, { mode: 0o600 })
    const options = ['--device', at('card.img'), '--allow-fixed', '--yes', '--bundle', at('bundle.tar.gz')]
    const flashed = await runSluice(
      ...['flash', 'gateway', '--image', at('pi.img'), ...options, '--join-token-file', at('t'), '--hostname', 'gw-7'],
    )
    expect(flashed).toMatchObject({ code: 0 })
    expect(flashed.stdout + flashed.stderr).not.toContain(token)
    machine = new Machine(at('machine'))
    copyFromCard(at('card.img'), '/sluice', join(machine.root, 'boot/firmware'))
  }, 120_000)

  afterAll(async () => {
    await house?.[Symbol.asyncDispose]()
    folder?.[Symbol.dispose]()
  })

  it('installs the agent from the card alone, and wipes the token', { timeout: 90_000 }, async () => {
    const boot = await machine.run('sh', '/boot/firmware/sluice/first-boot.sh')
    expect(boot, boot.text).toMatchObject({ code: 0 })
    expect(boot.text).not.toContain(token)
    expect(machine.read('boot/firmware/sluice/first-boot.log')).toContain('done')
    expect(readdirSync(join(machine.root, 'boot/firmware/sluice')).sort()).toEqual(['first-boot.log', 'first-boot.sh'])
    expect(machine.read('etc/group')).toMatch(/^dialout:x:20:sluice$/m)
    expect(machine.read('etc/group')).toMatch(/^bluetooth:x:120:sluice$/m)
    expect(machine.read('etc/passwd')).toMatch(/^sluice:.*:\/var\/lib\/sluice:\/usr\/sbin\/nologin$/m)
    const kept = statSync(join(machine.root, 'var/lib/sluice/join.token'))
    expect(kept.mode & 0o777).toBe(0o600)
    expect(kept.uid).toBe(Number(/^sluice:x:(\d+)/m.exec(machine.read('etc/passwd'))?.[1]))
    expect(existsSync(join(machine.root, 'etc/systemd/system/sluice-agent.service'))).toBe(true)
    expect(existsSync(join(machine.root, 'etc/systemd/system/sluice-first-boot.service'))).toBe(false)
  })

  it('is begun again by the next boot where the power was cut, whoever began it the first time', async () => {
    const cut = new Machine(join(folder.path, 'cut'))
    copyFromCard(join(folder.path, 'card.img'), '/sluice', join(cut.root, 'boot/firmware'))
    // The cut: no tar any more, as if the machine had ended while it unpacked.
    cut.write('local/bin/tar', '#!/bin/sh\nkill -9 $PPID\n')
    chmodSync(join(cut.root, 'local/bin/tar'), 0o755)
    expect((await cut.run('sh', '/boot/firmware/sluice/first-boot.sh')).code).not.toBe(0)
    const unit = cut.read('etc/systemd/system/sluice-first-boot.service')
    expect(readlinkSync(join(cut.root, 'etc/systemd/system/multi-user.target.wants/sluice-first-boot.service'))).toBe(
      '../sluice-first-boot.service',
    )
    const again = /^ExecStart=(.*)$/m.exec(unit)?.[1]?.split(' ') ?? []
    expect(again).toEqual(['/bin/sh', '/boot/firmware/sluice/first-boot.sh'])
    expect(unit).toContain('ConditionPathExists=!/var/lib/sluice-first-boot.done')
    expect(readdirSync(join(cut.root, 'boot/firmware/sluice'))).toContain('join.token')
  })

  it('does nothing on the boots that follow', async () => {
    expect(await machine.run('sh', '/boot/firmware/sluice/first-boot.sh')).toEqual({ code: 0, text: '' })
  })

  it('starts, by the very line of its unit and as its user, joins, and leaves no token behind', {
    timeout: 60_000,
  }, async () => {
    const unit = machine.read('etc/systemd/system/sluice-agent.service')
    const line = /^ExecStart=(.*)$/m.exec(unit)?.[1] ?? ''
    const argv = line.split(' ').filter((word) => word !== '$SLUICE_AGENT_OPTIONS')
    const asUser = [
      'setpriv',
      '--reuid',
      'sluice',
      '--regid',
      'sluice',
      '--init-groups',
      '--no-new-privs',
      '--',
      ...argv,
    ]
    const [command, args] = machine.launch(asUser)
    const service = spawn(command, [...args], { stdio: ['ignore', 'pipe', 'pipe'] })
    const ended = new Promise((resolve) => service.once('exit', resolve))
    let words = ''
    for (const stream of [service.stdout, service.stderr]) stream.on('data', (text: Buffer) => (words += text))
    try {
      const identity = join(machine.root, 'var/lib/sluice/identity.json')
      await eventually(() => existsSync(identity), 'the identity of the gateway')
      await eventually(() => !existsSync(join(machine.root, 'var/lib/sluice/join.token')), 'the token to be gone')
      expect(statSync(identity).mode & 0o777).toBe(0o600)
      expect(JSON.parse(machine.read('var/lib/sluice/identity.json'))).toMatchObject({ gateway: 'gw-7' })
    } finally {
      service.kill('SIGTERM')
      await ended
    }
    expect(words).toContain('Joined as gateway gw-7')
    expect(words).not.toContain(token)
  })

  it('says on the card what is wrong when the bundle rotted, and leaves nothing behind', {
    timeout: 60_000,
  }, async () => {
    const other = new Machine(join(folder.path, 'other'))
    copyFromCard(join(folder.path, 'card.img'), '/sluice', join(other.root, 'boot/firmware'))
    other.write('boot/firmware/sluice/bundle.tar.gz', 'rotten')
    const boot = await other.run('sh', '/boot/firmware/sluice/first-boot.sh')
    expect(boot.code).toBe(1)
    expect(other.read('boot/firmware/sluice/first-boot.log')).toContain('bundle.tar.gz is damaged')
    expect(readdirSync(join(other.root, 'var/tmp'))).toEqual([])
    expect(existsSync(join(other.root, 'opt/sluice'))).toBe(false)
  })
})
