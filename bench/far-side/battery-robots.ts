import { choose } from '../../cloudcore/scheduler/choose.ts'
import { Cluster, readNode } from '../../cloudcore/scheduler/cluster.ts'
import { planMoves, type Troubles } from '../../cloudcore/scheduler/moves.ts'
import { type PodView, readPod } from '../../cloudcore/scheduler/pod-view.ts'
import { chooseByDefault } from '../peers/default-scheduler.ts'

/** Robots: a battery of 300 Wh, 12 W at rest, up to 45 W more on the move, 2 W a pod; a dock with 110 W. */
const CAPACITY_J = 300 * 3600
const REST_W = 12
const DRIVE_W = 45
const POD_W = 2
const DOCK_W = 110
/** They drive to a dock at this charge, and leave it at that one. */
const DOCK_AT = 0.25
const LEAVE_AT = 0.9
/** One dock for three robots: who is late waits, with what is left. */
const DOCKS_SHARE = 1 / 3
const STEP_S = 30
/** A pod that is moved serves nobody for this long. */
const MOVE_COST_S = 10
/** As the cluster does it: a node that is silent is noticed after 40 s, its pods go 300 s later. */
const EVICTED_AFTER_S = 340
const KEEP = 40

/** A gauge is off by so much of the whole at most, each robot's always by the same: what is told is not what is. */
const GAUGE_OFF = 0.03

interface Robot {
  readonly name: string
  readonly gaugeOff: number
  charge: number
  docked: boolean
  deadS: number
  /** Average draw of the last minutes, as a forecast is made from it. */
  watts: number
}

export interface WeekResult {
  /** Share of the time in which pods ran where their intent was kept. */
  readonly kept: number
  readonly moves: number
  readonly deaths: number
  /** Shortest time between two moves of one pod, seconds. */
  readonly shortestStayS: number
}

/** Random numbers that are the same in every run (mulberry32). */
function dice(seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let value = Math.imul(state ^ (state >>> 15), 1 | state)
    value = (value + Math.imul(value ^ (value >>> 7), 61 | value)) ^ value
    return ((value ^ (value >>> 14)) >>> 0) / 2 ** 32
  }
}

/** Lets robots drive, charge and carry pods for a while, with one of the two schedulers. With one seed robots drive alike in both. */
export function robotsFor(
  scheduler: 'sluice' | 'default',
  robots: number,
  pods: number,
  days: number,
  seed: number,
): WeekResult {
  const random = dice(seed)
  const cluster = new Cluster()
  const fleet: Robot[] = Array.from({ length: robots }, (_, index) => ({
    ...{ name: `robot-${String(index).padStart(2, '0')}`, docked: false, deadS: 0, watts: REST_W },
    charge: 0.3 + 0.6 * random(),
    gaugeOff: GAUGE_OFF * (2 * random() - 1),
  }))
  for (const { name } of fleet) cluster.setNode(nodeOf(name, true))
  let moves = 0
  let deaths = 0
  let kept = 0
  let shortestStayS = Number.POSITIVE_INFINITY
  const movedS = new Map<string, number>()
  const troubles: Troubles = new Map()
  const startMs = Date.UTC(2026, 0, 5)
  const waiting = new Map<string, PodView>()
  for (let index = 0; index < pods; index++) waiting.set(`pod-${index}`, podOf(index, 0, startMs))
  let generation = 0
  const steps = (days * 86_400) / STEP_S
  for (let step = 0; step < steps; step++) {
    const nowS = step * STEP_S
    const nowMs = startMs + nowS * 1000
    const docks = Math.floor(robots * DOCKS_SHARE)
    for (const robot of fleet) {
      const load = cluster.places.get(robot.name)?.pods.size ?? 0
      // Two shifts of work; each robot its own hours, and rest at random.
      const shift = (nowS / 3600 + Number(robot.name.slice(-2))) % 12 < 8
      const drive = random()
      const watts = REST_W + (shift && !robot.docked ? DRIVE_W * drive : 0) + POD_W * load
      robot.watts += (watts - robot.watts) * 0.1
      const alive = robot.charge > 0
      robot.charge = Math.min(
        1,
        robot.charge + ((robot.docked ? DOCK_W : 0) - (alive ? watts : 0)) * (STEP_S / CAPACITY_J),
      )
      if (!robot.docked && robot.charge < DOCK_AT && fleet.filter(({ docked }) => docked).length < docks)
        robot.docked = true
      else if (robot.docked && robot.charge >= LEAVE_AT) robot.docked = false
      if (robot.charge <= 0) {
        if (robot.deadS === 0) deaths++
        robot.charge = 0
        robot.deadS += STEP_S
      } else if (robot.deadS > 0) robot.deadS = 0
      const dead = robot.charge <= 0
      cluster.setNode(nodeOf(robot.name, !dead))
      const told = Math.min(1, Math.max(0, robot.charge + robot.gaugeOff))
      const { leftS, leftLowS } = forecast(told, robot.watts)
      const state = robot.docked ? 'charging' : 'discharging'
      const battery = { percent: Math.round(told * 100), state, ...(robot.docked ? {} : { leftS, leftLowS }) }
      cluster.setGateway(robot.name, {
        online: !dead,
        mode: 'autonomous',
        supply: 'battery',
        battery,
        watts: robot.watts,
      })
      if (robot.deadS < EVICTED_AFTER_S) continue
      for (const pod of [...(cluster.places.get(robot.name)?.pods.values() ?? [])]) {
        cluster.removePod(pod.uid)
        waiting.set(pod.name, podOf(Number(pod.name.slice(4)), ++generation, nowMs))
      }
    }
    if (scheduler === 'sluice') {
      for (const { pod, to } of planMoves(cluster, troubles, nowMs).moves) {
        cluster.removePod(pod.uid)
        cluster.setPod({ ...podOf(Number(pod.name.slice(4)), ++generation, nowMs), node: to, phase: 'Running' })
        const last = movedS.get(pod.name)
        if (last !== undefined) shortestStayS = Math.min(shortestStayS, nowS - last)
        movedS.set(pod.name, nowS)
        moves++
        kept -= MOVE_COST_S
      }
    }
    for (const [name, pod] of waiting) {
      const to = scheduler === 'sluice' ? choose(pod, cluster, { nowMs }).node : chooseByDefault(pod, cluster)
      if (to === undefined) continue
      waiting.delete(name)
      cluster.setPod({ ...pod, node: to, phase: 'Running' })
    }
    for (const robot of fleet) {
      if (robot.charge * 100 >= KEEP) kept += STEP_S * (cluster.places.get(robot.name)?.pods.size ?? 0)
    }
  }
  return { kept: kept / (pods * days * 86_400), moves, deaths, shortestStayS }
}

/** What an energy forecast makes of it: the average draw, and a quarter more to be sure. */
function forecast(charge: number, watts: number): { leftS: number; leftLowS: number } {
  const leftS = (charge * CAPACITY_J) / Math.max(1, watts)
  return { leftS, leftLowS: leftS / 1.25 }
}

const nodeOf = (name: string, ready: boolean) =>
  readNode({
    metadata: { name, labels: { 'kubernetes.io/hostname': name } },
    status: {
      allocatable: { cpu: '4', memory: '4Gi', pods: '20' },
      conditions: [{ type: 'Ready', status: ready ? 'True' : 'Unknown' }],
    },
  })

const podOf = (index: number, generation: number, nowMs: number) =>
  readPod({
    metadata: {
      ...{ name: `pod-${index}`, namespace: 'robots', uid: `${index}.${generation}` },
      creationTimestamp: new Date(nowMs).toISOString(),
      annotations: { 'fluidos-intent-battery': `${KEEP}%`, 'sluice.dev/intent': 'policy: battery' },
    },
    spec: { containers: [{ name: 'c', image: 'x', resources: { requests: { cpu: '400m', memory: '300Mi' } } }] },
  })
