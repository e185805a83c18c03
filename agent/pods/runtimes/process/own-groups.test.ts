import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { systemClock } from '../../../../api/clock.ts'
import { missingForPods } from '../../images/busybox.test-helper.ts'
import { plainSandbox } from '../specs.test-helper.ts'
import { ControlGroups } from './control-group.ts'
import { OwnGroups } from './own-groups.ts'
import { ProcessRuntime } from './runtime.ts'

const signal = AbortSignal.timeout(60_000)

describe.skipIf(missingForPods() !== undefined)('the control groups of a gateway', () => {
  let folder: string
  let groups: ControlGroups
  const children: ChildProcess[] = []

  beforeEach(() => {
    folder = mkdtempSync('/tmp/sluice-groups-')
    chmodSync(folder, 0o711)
    groups = new ControlGroups(undefined, `sluice-groups-${process.pid}`)
  })
  afterEach(async () => {
    await Promise.all(children.splice(0).map(end))
    const all = new OwnGroups(join(folder, 'all'), groups, systemClock)
    all.make('.', {})
    await all.remove('.', signal)
    rmSync(folder, { recursive: true, force: true })
  })

  const isThere = (group: string) => groups.joinFiles(group).some((file) => existsSync(file))
  const open = () => new OwnGroups(join(folder, 'groups'), groups, systemClock)

  /** A program inside of a group. */
  function inhabit(group: string): ChildProcess {
    const child = spawn('sleep', ['infinity'], { stdio: 'ignore' })
    for (const file of groups.joinFiles(group)) writeFileSync(file, String(child.pid))
    children.push(child)
    return child
  }

  it('are removed when the last that was in them has left, and not remembered', async () => {
    const own = open()
    own.make('pod1', {})
    const inside = inhabit('pod1')
    const removed = own.remove('pod1', signal)
    expect(isThere('pod1')).toBe(true)
    await end(inside)
    await removed
    expect(isThere('pod1')).toBe(false)
    expect(readdirSync(join(folder, 'groups'))).toEqual([])
  })

  it('stay when they are made again meanwhile', async () => {
    const own = open()
    own.make('pod1', {})
    const before = inhabit('pod1')
    const removed = own.remove('pod1', signal)
    own.make('pod1', {})
    await end(before)
    await removed
    expect(isThere('pod1')).toBe(true)
  })

  it('are swept when they were forgotten: the empty ones of this gateway and no other', () => {
    const before = open()
    for (const group of ['forgotten', 'forgotten/inner', 'known', 'inhabited']) before.make(group, {})
    groups.make("another's", {})
    inhabit('inhabited')
    const own = open()
    own.make('new', {})
    own.sweep(new Set(['known']))
    const there = ['forgotten', 'known', 'inhabited', "another's", 'new'].map(isThere)
    expect(there).toEqual([false, true, true, true, true])
  })

  it('of pods that nobody knows are gone when an agent begins, and those of its pods are not', async () => {
    const pods = join(folder, 'pods')
    const onTrouble = (error: Error) => {
      throw error
    }
    const options = { folder: pods, clock: systemClock, onTrouble }
    const uid = `own-groups-${process.pid}`
    const shared = new ControlGroups()
    const isGroup = (group: string) => shared.joinFiles(group).some((file) => existsSync(file))
    {
      await using agent = new ProcessRuntime(options)
      await agent.createSandbox(plainSandbox(join(folder, 'logs'), { podUid: uid }), signal)
    }
    new OwnGroups(join(pods, 'groups'), shared, systemClock).make(`pod${uid}-forgotten`, {})
    await using agent = new ProcessRuntime(options)
    expect([isGroup(`pod${uid}`), isGroup(`pod${uid}-forgotten`)]).toEqual([true, false])
    for (const { id } of await agent.list()) await agent.removeSandbox(id, signal)
    expect(isGroup(`pod${uid}`)).toBe(false)
  })
})

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  const ended = once(child, 'exit')
  child.kill('SIGKILL')
  await ended
}
