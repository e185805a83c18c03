import { parseQuantity } from '../../api/intents/quantity.ts'
import type { MachineFacts } from '../../api/link/machine.ts'
import type { GatewaySpec, GatewayStatus } from '../../api/resources.ts'
import { NODE_CONDITIONS, NODE_PRESSURES, type NodeCondition } from '../../api/schema/node-conditions.ts'

export interface Taint {
  readonly key: string
  readonly value?: string
  readonly effect: string
  readonly timeAdded?: string
}

/** What a Node shows of its gateway's power and link. Labels that are undefined are taken away. */
export interface NodeFacts {
  readonly conditions: readonly NonNullable<GatewayStatus['conditions']>[number][]
  readonly labels: Readonly<Record<NodeLabel, string | undefined>>
  readonly taints: readonly Taint[]
}

export const NODE_LABELS = ['sluice.dev/power-source', 'sluice.dev/battery-band', 'sluice.dev/link-kind'] as const
export type NodeLabel = (typeof NODE_LABELS)[number]

/** On the Node of a gateway whose policy takes no pods now. */
const REFUSES_PODS: Taint = { key: 'sluice.dev/refuses-pods', value: 'true', effect: 'NoSchedule' }

const TAINT_KEYS: Readonly<Record<NodeCondition, string>> = {
  BatteryLow: 'sluice.dev/battery-low',
  OnBattery: 'sluice.dev/on-battery',
  LinkDegraded: 'sluice.dev/link-degraded',
  Throttled: 'sluice.dev/throttled',
}

/** Lowest charge of each band, in per cent. */
const BANDS = [
  ['full', 80],
  ['good', 40],
  ['low', 20],
  ['critical', 0],
] as const
/** A band is left upwards only by this much, so that a label does not flap at its edge. */
const BAND_MARGIN = 3

/** The band of a charge, given the band it was in before. */
export function batteryBand(percent: number, before: string | undefined): string {
  const rank = (name: string | undefined) => BANDS.findIndex(([band]) => band === name)
  const plain = BANDS.find(([, lowest]) => percent >= lowest)?.[0] ?? 'critical'
  if (before === undefined || rank(before) < 0 || rank(plain) >= rank(before)) return plain
  return BANDS.find(([, lowest]) => percent >= lowest + BAND_MARGIN)?.[0] ?? before
}

/** `before`: the label that the Node carries now. */
export function nodeFacts(status: GatewayStatus, taints: GatewaySpec['taints'], before: string | undefined): NodeFacts {
  const shown: readonly string[] = [...NODE_CONDITIONS, ...NODE_PRESSURES]
  const conditions = (status.conditions ?? []).filter(({ type }) => shown.includes(type))
  const percent = status.battery?.percent
  const kind = status.networks?.find(({ toHub }) => toHub === true)?.kind
  const holds = (type: NodeCondition) => conditions.some((each) => each.type === type && each.status === 'True')
  return {
    conditions,
    labels: {
      'sluice.dev/power-source': status.power?.supply,
      'sluice.dev/battery-band': percent === undefined ? undefined : batteryBand(percent, before),
      'sluice.dev/link-kind': kind,
    },
    taints: [
      ...(taints ?? []).filter(holds).map((type) => ({ key: TAINT_KEYS[type], value: 'true', effect: 'NoSchedule' })),
      ...(status.policy?.pods === undefined ? [] : [REFUSES_PODS]),
    ],
  }
}

/** What the Node of a gateway has for pods, and of it what `Gateway.spec.pods` leaves; of one that runs none, nothing. */
export function machineStatus(machine: MachineFacts | undefined, limits: GatewaySpec['pods'] = {}) {
  const amounts = (memoryBytes: number, most: { readonly cpuMillis: number; readonly pods: number }) => ({
    cpu: `${most.cpuMillis}m`,
    memory: `${Math.floor(memoryBytes / 1024)}Ki`,
    pods: `${most.pods}`,
  })
  const least = (has: number, limit: string | number | undefined, factor = 1) => {
    const most = limit === undefined ? undefined : parseQuantity(String(limit))
    return most === undefined ? has : Math.min(has, Math.floor(most * factor))
  }
  return {
    capacity: machine === undefined ? null : amounts(machine.memoryBytes, machine),
    allocatable:
      machine === undefined
        ? null
        : amounts(least(machine.allocatableMemoryBytes, limits.memory), {
            cpuMillis: least(machine.cpuMillis, limits.cpu, 1000),
            pods: least(machine.pods, limits.max),
          }),
    nodeInfo: {
      architecture: machine?.architecture ?? '',
      containerRuntimeVersion: machine?.runtime ?? '',
      kernelVersion: machine?.kernel ?? '',
      osImage: machine?.osImage ?? '',
    },
  }
}

/** On every gateway that runs no pods. */
export const DEVICES_ONLY: Taint = { key: 'sluice.dev/devices-only', value: 'true', effect: 'NoSchedule' }

/**
 * The taints a Node is to have: those of others stay, ours, which are those of `owned`, are as given. Undefined when it
 * has them already.
 */
export function withTaints(
  held: readonly Taint[],
  ours: readonly Taint[],
  owned: readonly string[] = [...Object.values(TAINT_KEYS), REFUSES_PODS.key],
): Taint[] | undefined {
  const kept = held.filter(({ key }) => !owned.includes(key))
  const same =
    held.length === kept.length + ours.length && ours.every(({ key }) => held.some((taint) => taint.key === key))
  return same ? undefined : [...kept, ...ours]
}
