import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { LinkPod, PodContainer, PodSpec } from '../../api/link/pods.ts'
import {
  backoffMs,
  type ContainerNotes,
  containerHash,
  LABEL_BACKOFF,
  LABEL_HASH,
  nextLevel,
  type PodInput,
  type PodPlan,
  planPod,
} from './plan.ts'
import type { ContainerView, SandboxState } from './runtimes/runtime.ts'

const FREE = { begins: true, ownWill: true, work: 'runs' } as const

const podOf = (spec: Partial<PodSpec>, metadata: LinkPod['metadata'] = {}): LinkPod => ({
  uid: 'u1',
  generation: 1,
  metadata,
  spec: { containers: [{ name: 'a', image: 'i' }], ...spec },
})

/** A machine that does what a plan says, at once and without fault; programs end when `exit` says so. */
class Machine {
  sandboxes: SandboxState[] = []
  nowMs = 1_000_000
  started: string[] = []
  #id = 0
  readonly notes = new Map<string, ContainerNotes>()

  input(pod: LinkPod | undefined, over: Partial<PodInput> = {}): PodInput {
    return {
      uid: 'u1',
      pod,
      sandboxes: this.sandboxes,
      nowMs: this.nowMs,
      leash: FREE,
      notes: this.notes,
      refused: undefined,
      sinceMs: 1_000_000,
      ...over,
    }
  }

  apply(plan: PodPlan, pod: LinkPod | undefined): void {
    for (const action of plan.actions) {
      switch (action.do) {
        case 'createSandbox':
          this.sandboxes = [...this.sandboxes, this.#sandbox(action.attempt)]
          break
        case 'removeSandbox':
          this.sandboxes = this.sandboxes.filter(({ id }) => id !== action.sandboxId)
          break
        case 'startContainer': {
          const all: readonly PodContainer[] = [...(pod?.spec.initContainers ?? []), ...(pod?.spec.containers ?? [])]
          const wanted = all.find(({ name }) => name === action.name)!
          this.started.push(action.name)
          this.#put(action.sandboxId, {
            id: `c${++this.#id}`,
            name: action.name,
            attempt: action.attempt,
            state: 'running',
            imageId: 'i',
            imageName: 'i',
            createdMs: this.nowMs + this.#id,
            startedMs: this.nowMs,
            logPath: '',
            labels: { [LABEL_HASH]: containerHash(wanted), [LABEL_BACKOFF]: String(action.backoff) },
          })
          this.notes.set(action.name, { startedUp: true })
          break
        }
        case 'stopContainer':
          this.exit(action.containerId, 143)
          break
        case 'removeContainer':
          this.#edit((containers) => containers.filter(({ id }) => id !== action.containerId))
      }
    }
  }

  /** Plans and carries out until nothing is left to do; returns how many rounds it took. */
  settle(pod: LinkPod | undefined, over: Partial<PodInput> = {}): number {
    for (let round = 0; round < 50; round++) {
      const plan = planPod(this.input(pod, over))
      if (plan.actions.length === 0) return round
      this.apply(plan, pod)
    }
    throw new Error('the plan does not settle')
  }

  exit(id: string, code: number): void {
    this.#edit((containers) =>
      containers.map((one) =>
        one.id === id && one.state === 'running'
          ? {
              ...one,
              state: 'exited',
              exit: { code, reason: code === 0 ? 'Completed' : 'Error', finishedMs: this.nowMs },
            }
          : one,
      ),
    )
  }

  exitName(name: string, code: number): void {
    for (const one of this.containers) if (one.name === name) this.exit(one.id, code)
  }

  /** The machine was off: nothing runs any more. */
  reboot(): void {
    for (const one of this.containers) this.exit(one.id, 137)
    this.sandboxes = this.sandboxes.map((sandbox) => ({ ...sandbox, ready: false }))
  }

  get containers(): ContainerView[] {
    return this.sandboxes.flatMap(({ containers }) => containers)
  }

  get running(): string[] {
    return this.containers
      .filter(({ state }) => state === 'running')
      .map(({ name }) => name)
      .sort()
  }

  #sandbox(attempt: number): SandboxState {
    const id = `s${++this.#id}`
    return {
      id,
      podUid: 'u1',
      namespace: 'n',
      name: 'p',
      attempt,
      ready: true,
      createdMs: this.nowMs,
      ips: [],
      labels: {},
      containers: [],
    }
  }

  #put(sandboxId: string, container: ContainerView): void {
    this.sandboxes = this.sandboxes.map((one) =>
      one.id === sandboxId ? { ...one, containers: [...one.containers, container] } : one,
    )
  }

  #edit(edit: (containers: readonly ContainerView[]) => readonly ContainerView[]): void {
    this.sandboxes = this.sandboxes.map((one) => ({ ...one, containers: edit(one.containers) }))
  }
}

describe('the plan of a pod', () => {
  it('brings a new pod up in two steps and then has nothing to do', () => {
    const machine = new Machine()
    expect(machine.settle(podOf({}))).toBe(2)
    expect(machine.running).toEqual(['a'])
    expect(planPod(machine.input(podOf({}))).actions).toEqual([])
  })

  it('runs init containers one after the other, and sidecars beside them', () => {
    const pod = podOf({
      initContainers: [
        { name: 'i1', image: 'i' },
        { name: 's', image: 'i', restartPolicy: 'Always' },
        { name: 'i2', image: 'i' },
      ],
    })
    const machine = new Machine()
    machine.settle(pod)
    expect(machine.running).toEqual(['i1'])
    machine.exitName('i1', 0)
    machine.settle(pod)
    expect(machine.running).toEqual(['i2', 's'])
    machine.exitName('i2', 0)
    machine.settle(pod)
    expect(machine.running).toEqual(['a', 's'])
    expect(machine.started).toEqual(['i1', 's', 'i2', 'a'])
    machine.exitName('s', 1)
    machine.settle(pod)
    expect(machine.running).toEqual(['a', 's'])
  })

  it('restarts at once, then with pauses that double up to five minutes', () => {
    const pod = podOf({})
    const machine = new Machine()
    const pauses: number[] = []
    machine.settle(pod)
    for (let restart = 0; restart < 8; restart++) {
      machine.exitName('a', 1)
      machine.settle(pod)
      const { wakeAtMs } = planPod(machine.input(pod))
      pauses.push(wakeAtMs === undefined ? 0 : wakeAtMs - machine.nowMs)
      machine.nowMs = wakeAtMs ?? machine.nowMs
      machine.settle(pod)
      expect(machine.running).toEqual(['a'])
    }
    expect(pauses).toEqual([0, 10_000, 20_000, 40_000, 80_000, 160_000, 300_000, 300_000])
    machine.nowMs += 600_000
    machine.exitName('a', 1)
    machine.settle(pod)
    expect(machine.running).toEqual(['a'])
  })

  it('is over when nothing is to be restarted, and says how', () => {
    const machine = new Machine()
    const pod = podOf({
      restartPolicy: 'OnFailure',
      containers: [
        { name: 'a', image: 'i' },
        { name: 'b', image: 'i' },
      ],
    })
    machine.settle(pod)
    machine.exitName('a', 0)
    expect(planPod(machine.input(pod)).over).toBeUndefined()
    machine.exitName('b', 0)
    expect(planPod(machine.input(pod)).over).toBe('Succeeded')
    const never = podOf({ restartPolicy: 'Never' })
    const other = new Machine()
    other.settle(never)
    other.exitName('a', 3)
    expect(planPod(other.input(never))).toMatchObject({ over: 'Failed', actions: [] })
  })

  it('ends at its deadline', () => {
    const pod = podOf({ activeDeadlineSeconds: 60 })
    const machine = new Machine()
    machine.settle(pod)
    expect(planPod(machine.input(pod)).wakeAtMs).toBe(1_060_000)
    machine.nowMs = 1_060_000
    expect(planPod(machine.input(pod))).toMatchObject({ over: 'Failed', overReason: 'DeadlineExceeded' })
    machine.settle(pod)
    expect(machine.running).toEqual([])
  })

  it('begins again what ran when the machine comes back, and only that', () => {
    const pod = podOf({
      restartPolicy: 'OnFailure',
      containers: [
        { name: 'a', image: 'i' },
        { name: 'b', image: 'i' },
      ],
    })
    const machine = new Machine()
    machine.settle(pod)
    machine.exitName('a', 0)
    machine.reboot()
    machine.settle(pod)
    expect(machine.running).toEqual(['b'])
    expect(machine.started).toEqual(['a', 'b', 'b'])
  })

  it('begins nothing that did not run while it may not, and ends what must end', () => {
    const pod = podOf({})
    const slack = { leash: { begins: false, ownWill: false, work: 'runs' } } as const
    const machine = new Machine()
    machine.settle(pod, slack)
    expect(machine.started).toEqual([])
    machine.settle(pod)
    machine.settle(pod, slack)
    expect(machine.running).toEqual(['a'])
    machine.settle(pod, { leash: { begins: false, ownWill: true, work: 'stopped' } })
    expect(machine.running).toEqual([])
    machine.nowMs += 1_000_000
    machine.settle(pod)
    expect(machine.running).toEqual(['a'])
    expect(machine.started).toEqual(['a', 'a'])
  })

  it('makes a container anew when it is another one, whatever the policy', () => {
    const pod = podOf({ restartPolicy: 'Never' })
    const machine = new Machine()
    machine.settle(pod)
    machine.settle(podOf({ restartPolicy: 'Never', containers: [{ name: 'a', image: 'i:2' }] }))
    expect(machine.started).toEqual(['a'])
    const always = new Machine()
    always.settle(podOf({}))
    always.settle(podOf({ containers: [{ name: 'a', image: 'i:2' }] }))
    expect(always.started).toEqual(['a', 'a'])
    expect(always.running).toEqual(['a'])
  })

  const step = fc.oneof(
    fc.record({
      is: fc.constant('exit' as const),
      name: fc.constantFrom('a', 'b', 'i', 's'),
      code: fc.constantFrom(0, 1, 137),
    }),
    fc.record({ is: fc.constant('time' as const), ms: fc.integer({ min: 0, max: 700_000 }) }),
    fc.constant({ is: 'reboot' as const }),
    fc.record({ is: fc.constant('condemn' as const), name: fc.constantFrom('a', 'b', 's') }),
    // What an agent knows in memory is gone after its restart.
    fc.constant({ is: 'agentRestart' as const }),
  )

  it('settles, repeats itself, touches nothing that runs as wanted, and never runs anything twice', () => {
    fc.assert(
      fc.property(
        fc.array(step, { maxLength: 25 }),
        fc.constantFrom('Always' as const, 'OnFailure' as const, 'Never' as const),
        (steps, restartPolicy) => {
          const pod = podOf({
            restartPolicy,
            initContainers: [
              { name: 'i', image: 'i' },
              { name: 's', image: 'i', restartPolicy: 'Always' },
            ],
            containers: [
              { name: 'a', image: 'i' },
              { name: 'b', image: 'i' },
            ],
          })
          const machine = new Machine()
          for (const event of steps) {
            if (event.is === 'exit') machine.exitName(event.name, event.code)
            else if (event.is === 'time') machine.nowMs += event.ms
            else if (event.is === 'reboot') machine.reboot()
            else if (event.is === 'agentRestart') {
              for (const { name } of machine.containers) machine.notes.set(name, { startedUp: true })
            } else {
              const one = machine.containers.find(({ name, state }) => name === event.name && state === 'running')
              if (one !== undefined) {
                const condemned = { containerId: one.id, reason: 'Unhealthy' }
                machine.notes.set(event.name, { startedUp: true, condemned })
              }
            }
            const before = machine.input(pod)
            const plan = planPod(before)
            expect(planPod(before)).toEqual(plan)
            const condemned = [...machine.notes.values()].flatMap((note) => note.condemned?.containerId ?? [])
            if (plan.over === undefined && currentReady(machine)) {
              for (const action of plan.actions) {
                if (action.do === 'stopContainer') expect(condemned).toContain(action.containerId)
              }
            }
            machine.settle(pod)
            expect(new Set(machine.running).size).toBe(machine.running.length)
            expect(machine.sandboxes.filter(({ ready }) => ready).length).toBeLessThanOrEqual(1)
          }
          machine.settle(podOf(pod.spec, { deletionTimestamp: '2026-01-01T00:00:00Z' }))
          expect(machine.sandboxes).toEqual([])
          expect(planPod(machine.input(undefined)).gone).toBe(true)
        },
      ),
      { numRuns: 300 },
    )
  })

  it('counts pauses from what ran last', () => {
    expect([0, 1, 2, 3, 6, 99].map(backoffMs)).toEqual([0, 10_000, 20_000, 40_000, 300_000, 300_000])
    expect(nextLevel(undefined)).toBe(0)
  })
})

const currentReady = (machine: Machine): boolean => machine.sandboxes.some(({ ready }) => ready)
