import type { DeviceModelSpec } from '../../api/resources.ts'
import type { Finding } from '../../api/yaml/findings.ts'
import { modelHash } from '../../mappers/modbus/model-hash.ts'
import type { Board } from '../tools/board.ts'
import type { ImageVersion } from '../tools/image.ts'
import { allocate } from './allocate.ts'
import { type GatewayEntry, gatewayDocuments, gatewayYaml, keyTable, mapDocument } from './emit-documents.ts'
import { propertiesHeader } from './emit-header.ts'
import { MODEL_HEADER, mainSource } from './emit-main.ts'
import { propertiesSource } from './emit-source.ts'
import type { Lock } from './lock.ts'
import { type BoardPlan, type PropertyOptions, planBoard, refuse } from './plan.ts'
import { tableEntries } from './words.ts'

export interface GenerateOptions {
  /** `metadata.name` of the model. */
  readonly name: string
  readonly model: DeviceModelSpec
  readonly board: Board
  readonly lock: Lock
  /** Gives addresses of removed properties away again. */
  readonly reuse?: boolean
  readonly version: ImageVersion
  readonly gateway: Omit<GatewayEntry, 'model'>
  readonly line: {
    readonly baud: number
    readonly parity: 'none' | 'even' | 'odd'
    readonly stopBits: 1 | 2
    readonly shared: boolean
  }
  readonly unit: number
  readonly properties?: ReadonlyMap<string, PropertyOptions>
  /** Whether there is an application to ask and tell. */
  readonly hooks: boolean
  /** Whether the board is updated over its line. Needs a board with slots. */
  readonly managed: boolean
  /** And on a serial line of its own. */
  readonly managedOn?: { readonly uart: number; readonly baud: number }
  /** 0: none. */
  readonly watchdogMs: number
}

export interface Generated {
  /** Content by name. The same input gives the same bytes. */
  readonly files: ReadonlyMap<string, string>
  readonly lock: Lock
  readonly plan: BoardPlan
  readonly model: DeviceModelSpec
  readonly hash: Uint8Array
  /** With an error among them nothing of the rest is to be used. Paths are those of the model's document. */
  readonly findings: readonly Finding[]
}

/** Everything that follows from a model: C, documents, and what the gateway is given. Pure. */
export function generate(options: GenerateOptions): Generated {
  const { board, name } = options
  const allocation = allocate(options.model, options.lock, { reuse: options.reuse ?? false })
  const plan = planBoard(allocation.model, allocation.numbers, options.properties)
  const entries = tableEntries(plan)
  const hash = modelHash(allocation.model)
  const findings = [...foreign(options.model), ...allocation.findings, ...plan.findings, ...keptFindings(plan, board)]
  const { gateway, unit, line } = options
  const files = new Map([
    ['properties.h', propertiesHeader(name, plan.properties)],
    ['properties.c', propertiesSource(name, plan.properties, entries, { hooks: options.hooks })],
    ['model.h', MODEL_HEADER],
    [
      'main.c',
      mainSource({
        model: name,
        vendor: options.model.vendor ?? 'Sluice',
        description: options.model.description,
        board: board.name,
        version: options.version,
        hash,
        unit,
        line,
        managed: options.managed,
        ...(options.managedOn === undefined ? {} : { managedOn: options.managedOn }),
        hooks: options.hooks,
        watchdogMs: options.watchdogMs,
      }),
    ],
    ['map.md', mapDocument(name, options.model, plan, { unit, baud: line.baud, hash })],
    ['keys.yaml', keyTable(plan)],
    ['gateway.yaml', gatewayYaml(gatewayDocuments(allocation.model, { ...gateway, model: name }))],
  ])
  return { files, lock: allocation.lock, plan, model: allocation.model, hash, findings }
}

/** The longest value the settings log takes (core/settings.h). */
const SETTING_BYTES = 64

/** Pages of the settings that hold the security counter, and the least that a log needs beside them (core/layout.h). */
const LEAST_SETTINGS_PAGES = 4

/** Whether a board has room for settings and two slots: only then values survive, and updates come over the line. */
export const hasSlots = ({ layout, flash }: Board): boolean =>
  layout.slotA !== undefined &&
  layout.slotB !== undefined &&
  layout.settings !== undefined &&
  layout.settings.size >= LEAST_SETTINGS_PAGES * flash.page

function keptFindings(plan: BoardPlan, board: Board): Finding[] {
  return plan.properties.flatMap((each) => {
    if (!each.persist) return []
    const { name } = each.property
    if (!hasSlots(board))
      return [
        refuse(
          each.index,
          [],
          `${name} cannot be kept: the board '${board.name}' has no room for settings`,
          'Remove persist, or take another board.',
        ),
      ]
    if (!each.writable)
      return [refuse(each.index, [], `${name} is read-only, so that there is nothing to keep`, 'Remove persist.')]
    const bytes = each.form.c === 'text' || each.form.c === 'bytes' ? 2 * each.registers + 1 : 8
    return bytes <= SETTING_BYTES
      ? []
      : [
          refuse(
            each.index,
            [],
            `${name} is too long to be kept: ${bytes} bytes, ${SETTING_BYTES} are possible`,
            'Shorten it, or remove persist.',
          ),
        ]
  })
}

/** Parts of firmware/core that generated code needs beyond those every application has. */
export function modulesFor(plan: BoardPlan, managed: readonly string[]): readonly string[] {
  const kept = plan.properties.some(({ persist }) => persist)
  return ['forms', ...(kept ? ['settings', 'crc32'] : []), ...managed]
}

const FOREIGN = ['ble', 'lora', 'mqtt', 'custom'] as const

/** A model of another protocol is one refusal, not one a property: a board made of it would not be that device. */
function foreign(model: DeviceModelSpec): Finding[] {
  for (const [index, property] of model.properties.entries()) {
    const protocol = FOREIGN.find((each) => each in property)
    if (protocol === undefined) continue
    return [
      {
        severity: 'error',
        code: 'SLUICE_FW_MODEL_INVALID',
        message: `${property.name} is bound to ${protocol}, and firmware serves Modbus only`,
        hint: `Remove the ${protocol} bindings in a copy of the model: properties without any get registers.`,
        path: ['spec', 'properties', index, protocol],
      },
    ]
  }
  return []
}
