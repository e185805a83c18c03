import { describe, expect, test } from 'vitest'
import { FakeMachine } from './fake-machine.test-helper.ts'
import type { AttributionSnapshot } from './snapshot.ts'

const UID = '0f6c3f2e-8a51-4d2b-9c3e-111111111111'
const STATIC_UID = 'd2c0e8a1b4f56789d2c0e8a1b4f56789'
const CONTAINER = 'a'.repeat(64)

const sumOf = ({ idle, rest, pods, slices, agent }: AttributionSnapshot): number =>
  [idle, rest, agent, ...pods, ...slices].reduce((sum, { joules }) => sum + joules, 0)

/** Groups in the layout of the given kernel and kubelet; `set` writes seconds of processor time into one. */
const LAYOUTS = {
  'v2 with systemd': {
    pod: `sys/fs/cgroup/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod${UID.replaceAll('-', '_')}.slice`,
    container: `cri-containerd-${CONTAINER}.scope`,
    fixed: `sys/fs/cgroup/kubepods.slice/kubepods-pod${STATIC_UID}.slice`,
    slice: 'sys/fs/cgroup/system.slice',
    v2: true,
    marker: 'sys/fs/cgroup/cgroup.controllers',
  },
  'v1 with cgroupfs': {
    pod: `sys/fs/cgroup/cpuacct/kubepods/burstable/pod${UID}`,
    container: CONTAINER,
    fixed: `sys/fs/cgroup/cpuacct/kubepods/pod${STATIC_UID}`,
    slice: 'sys/fs/cgroup/cpuacct/system.slice',
    v2: false,
    marker: 'sys/fs/cgroup/cpuacct/cpuacct.usage',
  },
  'a hybrid without the v1 controller': {
    pod: `sys/fs/cgroup/unified/kubepods/besteffort/pod${UID}`,
    container: CONTAINER,
    fixed: `sys/fs/cgroup/unified/kubepods/pod${STATIC_UID}`,
    slice: 'sys/fs/cgroup/unified/system.slice',
    v2: true,
    marker: 'sys/fs/cgroup/unified/cgroup.controllers',
  },
} as const

describe.each(Object.entries(LAYOUTS))('pods in %s', (_, layout) => {
  const set = (machine: FakeMachine, group: string, seconds: number) =>
    layout.v2
      ? machine.write(`${group}/cpu.stat`, `usage_usec ${Math.round(seconds * 1e6)}\nuser_usec 0\nsystem_usec 0`)
      : machine.write(`${group}/cpuacct.usage`, Math.round(seconds * 1e9))

  test('show a container that took the place of another', async () => {
    await using machine = new FakeMachine()
    machine.write('proc/device-tree/model', 'Raspberry Pi 4 Model B')
    machine.write(layout.marker, layout.v2 ? 'cpu memory' : '0')
    set(machine, layout.pod, 100)
    set(machine, `${layout.pod}/${layout.container}`, 99)
    const energy = machine.start()
    await machine.run(30, (s) => set(machine, layout.pod, 100 + s * 0.5), 1)
    const next = 'b'.repeat(64)
    const folder = `${layout.pod}/${layout.container.replace(CONTAINER, next)}`
    machine.remove(`${layout.pod}/${layout.container}`)
    await machine.run(
      30,
      (s) => {
        set(machine, layout.pod, 115 + s * 0.5)
        set(machine, folder, s * 0.5)
      },
      1,
    )
    const containers = energy.snapshot().attribution!.pods.flatMap((pod) => pod.containers)
    const shown = containers.find(({ id }) => id === next)
    // Also what it did before it was first seen.
    expect(shown?.cpuSeconds).toBeGreaterThanOrEqual(14)
    expect(shown?.joules).toBeGreaterThan(0)
  })

  test('get joules by their processor time, containers within them, and all parts are the whole', async () => {
    await using machine = new FakeMachine()
    machine.write('proc/device-tree/model', 'Raspberry Pi 4 Model B')
    machine.write(layout.marker, layout.v2 ? 'cpu memory' : '0')
    set(machine, layout.pod, 100)
    set(machine, `${layout.pod}/${layout.container}`, 99)
    set(machine, layout.fixed, 50)
    set(machine, layout.slice, 1000)
    const energy = machine.start({ podName: (uid) => (uid === UID ? 'plant/reader' : undefined) })
    await machine.run(
      60,
      (s) => {
        set(machine, layout.pod, 100 + s * 0.5)
        set(machine, `${layout.pod}/${layout.container}`, 99 + s * 0.4)
        set(machine, layout.fixed, 50 + s * 0.25)
        set(machine, layout.slice, 1000 + s * 0.2)
      },
      1,
    )
    const { attribution, totals } = energy.snapshot()
    const { pods, slices, rest, idle, whole } = attribution!
    expect(pods.map(({ name }) => name).sort()).toEqual([STATIC_UID, 'plant/reader'])
    const reader = pods.find(({ uid }) => uid === UID)!
    const other = pods.find(({ uid }) => uid === STATIC_UID)!
    expect(reader.joules / other.joules).toBeCloseTo(2, 6)
    expect(reader.cpuSeconds).toBeCloseTo(30, 3)
    expect(reader.containers).toMatchObject([{ id: CONTAINER }])
    expect(reader.containers[0]!.joules / reader.joules).toBeCloseTo(0.8, 3)
    expect(slices.map(({ name }) => name)).toEqual(['system.slice'])
    expect(rest.joules).toBeGreaterThan(0)
    expect(idle.watts).toBeCloseTo(2.7, 6)
    expect(Math.abs(sumOf(attribution!) / whole.joules - 1)).toBeLessThan(1e-9)
    expect(whole.joules).toBeCloseTo(totals.estimatedJ, 6)
  })

  test('that come and go are told apart, and what they took stays in the whole', async () => {
    await using machine = new FakeMachine()
    machine.write(layout.marker, layout.v2 ? 'cpu' : '0')
    const energy = machine.start()
    await machine.run(15, () => undefined)
    await machine.run(25, (s) => set(machine, layout.pod, s * 0.2))
    const alive = energy.snapshot().attribution!
    // It began after the first look, so all of its processor time is new.
    expect(alive.pods).toMatchObject([{ uid: UID, state: 'running' }])
    expect(alive.pods[0]!.cpuSeconds).toBeCloseTo(5, 6)
    machine.remove(layout.pod)
    await machine.run(25, () => undefined)
    const after = energy.snapshot().attribution!
    expect(after.pods).toMatchObject([{ uid: UID, state: 'terminated', watts: 0 }])
    expect(after.pods[0]!.joules).toBeGreaterThan(0)
    expect(Math.abs(sumOf(after) / after.whole.joules - 1)).toBeLessThan(1e-9)
  })
})

describe('the agent', () => {
  test('is taken out of the slice it runs in, and shows what it costs', async () => {
    await using machine = new FakeMachine()
    machine.write('sys/fs/cgroup/cgroup.controllers', 'cpu')
    machine.write('proc/self/cgroup', '0::/system.slice/sluice.service')
    const usage = (s: number) =>
      machine.write('sys/fs/cgroup/system.slice/cpu.stat', `usage_usec ${Math.round(s * 4e5)}`)
    usage(0)
    let ownCpuS = 0
    const energy = machine.start({ ownCpuS: () => ownCpuS })
    await machine.run(
      60,
      (s) => {
        usage(s)
        ownCpuS = s * 0.1
      },
      1,
    )
    const { agent, slices } = energy.snapshot().attribution!
    expect(slices[0]!.joules / agent.joules).toBeCloseTo(3, 6)
    expect(energy.snapshot().energy!.agentTodayJ).toBeCloseTo(agent.joules, 0)
  })

  test('divides its part among mappers and devices, and keeps the sum when devices go', async () => {
    await using machine = new FakeMachine()
    let ownCpuS = 0
    let second = 0
    let served = 3
    const deviceLoads = () =>
      Array.from({ length: served }, (_, i) => ({
        mapper: i === 0 ? 'ble' : 'modbus',
        device: `plant/d${i}`,
        busyS: second * 0.05 * (i + 1),
        reads: second * (i + 1),
        ...(i === 0 ? { airtimeS: second * 0.001 } : {}),
      }))
    const energy = machine.start({ deviceLoads, ownCpuS: () => ownCpuS })
    const each = () => {
      second++
      ownCpuS += 0.02
    }
    await machine.run(60, each)
    const { agent } = energy.snapshot().attribution!
    const [, modbus] = agent.mappers
    expect(agent.mappers.map(({ name }) => name)).toEqual(['ble', 'modbus'])
    expect(modbus!.devices[1]!.joules / modbus!.devices[0]!.joules).toBeCloseTo(1.5, 6)
    const inner = (figure: typeof agent) =>
      figure.own.joules + figure.mappers.reduce((sum, { joules }) => sum + joules, 0)
    expect(Math.abs(inner(agent) / agent.joules - 1)).toBeLessThan(1e-9)
    served = 1
    await machine.run(30, each)
    const later = energy.snapshot().attribution!.agent
    expect(later.mappers.find(({ name }) => name === 'modbus')!.devices).toEqual([])
    expect(Math.abs(inner(later) / later.joules - 1)).toBeLessThan(1e-9)
  })
})
