import type { ObjectKey } from '../../api/resources.ts'
import type { DeviceBinding, PlanExplanation, PlannedRequest } from '../sdk/mapper.ts'
import { compileDevice, type DeviceConfig, type LineShape } from './device-config.ts'
import { type Plan, type PlanGroup, type PlanItem, type PlanStep, planReads } from './plan.ts'
import { type ReadCost, readCost, worthwhileGap } from './plan-cost.ts'
import { isBitTable } from './point.ts'
import { READ_FUNCTION, type Table } from './tables.ts'

/** The plan as it would be made without ever having talked to the device. */
export function explainBinding(binding: DeviceBinding): PlanExplanation {
  const config = compileDevice(binding)
  const cost = readCost(config.link.line, config.turnaroundMs)
  const items = config.points.filter((point) => point.polled)
  const plan = planReads(items, config.limits, cost)
  return explainPlan(config, plan, cost, [
    `turnaround of ${round(config.turnaroundMs)} ms assumed, nothing measured yet`,
  ])
}

export function explainPlan(
  config: Pick<DeviceConfig, 'key' | 'link' | 'unit' | 'limits'> & { readonly key: ObjectKey },
  plan: Plan<PlanItem>,
  cost: ReadCost,
  notes: readonly string[],
): PlanExplanation {
  const { link } = config
  return {
    device: config.key,
    link: `${link.name} (${link.settings}), unit ${config.unit}`,
    requests: plan.groups.flatMap((group) => explainGroup(group, config.limits.onePerProperty)),
    load: plan.load,
    naiveLoad: plan.naiveLoad,
    notes: [...planNotes(plan, cost, link.line, config.limits.maxGap), ...notes],
  }
}

function explainGroup(group: PlanGroup<PlanItem>, single: boolean): PlannedRequest[] {
  return group.steps.map((step, index) => {
    const filler = fillerOf(group.steps.slice(0, index + 1), step)
    return {
      request: requestText(group.table, step.start, step.count),
      everyMs: step.everyMs,
      properties: step.items.map((item) => item.name),
      busMs: step.busMs,
      why: whyStep(group.steps, index, filler, single, isBitTable(group.table)),
      table: group.table,
      start: step.start,
      length: step.count,
      filler,
    }
  })
}

/** `FC4 input 0x0000..0x0011 (18 registers)` */
export function requestText(table: Table, start: number, count: number): string {
  const hex = (address: number) => `0x${address.toString(16).toUpperCase().padStart(4, '0')}`
  const range = count === 1 ? hex(start) : `${hex(start)}..${hex(start + count - 1)}`
  const what = isBitTable(table) ? 'bit' : 'register'
  return `FC${READ_FUNCTION[table]} ${table} ${range} (${count} ${what}${count === 1 ? '' : 's'})`
}

/** Addresses of a request that no property of it asked for. */
function fillerOf(steps: readonly PlanStep<PlanItem>[], widest: PlanStep<PlanItem>): number {
  const ranges = steps
    .flatMap((step) => step.items)
    .map((item) => [item.start, item.start + item.size] as const)
    .sort((a, b) => a[0] - b[0])
  let wanted = 0
  let end = Number.NEGATIVE_INFINITY
  for (const [from, to] of ranges) {
    wanted += Math.max(0, to - Math.max(from, end))
    end = Math.max(end, to)
  }
  return widest.count - wanted
}

function whyStep(
  steps: readonly PlanStep<PlanItem>[],
  index: number,
  filler: number,
  single: boolean,
  bits: boolean,
): string {
  const step = steps[index]!
  if (index > 0) {
    const extra = round(step.busMs - steps[index - 1]!.busMs)
    const times = Math.round(step.everyMs / steps[0]!.everyMs)
    return `every ${times}th turn of the request above is this wide, for ${extra} ms more than it takes anyway`
  }
  if (single) return 'the model wants one read a property'
  if (step.items.length === 1) return 'nothing else is near enough to share a request'
  const name = bits ? 'bit' : 'register'
  if (filler === 0) return `${step.items.length} properties side by side`
  return `${step.items.length} properties; reading ${filler} unused ${name}${filler === 1 ? '' : 's'} between them costs less than another request`
}

function planNotes(plan: Plan<PlanItem>, cost: ReadCost, line: LineShape, maxGap: number | undefined): string[] {
  const notes: string[] = []
  if (line.kind === 'tcp') {
    notes.push(
      `a round trip takes ${round(cost.fixedMs)} ms and a register next to nothing: whatever fits one request is read at once`,
    )
  } else {
    const gap = worthwhileGap(cost)
    notes.push(
      `a request costs ${round(cost.fixedMs)} ms before the first register and ${round(2 * cost.byteMs)} ms a register at ${line.baud} baud: ` +
        `up to ${gap} unused registers are read through, over more a second request is cheaper`,
    )
  }
  if (maxGap !== undefined) notes.push(`the model allows gaps of ${maxGap} at most`)
  if (plan.load > 0 && plan.naiveLoad > plan.load) {
    notes.push(`one request a property would take ${round(plan.naiveLoad / plan.load)} times as long`)
  }
  if (plan.load > 0.9)
    notes.push(`the link cannot carry this: ${Math.round(plan.load * 100)} % of its time; poll more slowly`)
  for (const { item, why } of plan.unreadable) {
    notes.push(
      why === 'forbidden'
        ? `${item.name} is not read: its address is known to be refused`
        : `${item.name} is not read: it is longer than the device's longest read`,
    )
  }
  return notes
}

const round = (value: number): number => Number(value.toPrecision(3))
