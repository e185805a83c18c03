import { stringify } from 'yaml'
import { API_VERSION, type DeviceModelSpec } from '../../api/resources.ts'
import { SYSTEM_ADDRESS } from './allocate.ts'
import type { BoardPlan, BoardProperty } from './plan.ts'

const cell = (text: string): string => text.replace(/\|/g, '\\|').replace(/\s+/g, ' ').trim()

const TITLES = {
  coil: 'Coils',
  discrete: 'Discrete inputs',
  holding: 'Holding registers',
  input: 'Input registers',
} as const

/** The register map for whoever speaks to the board by other means: Markdown. */
export function mapDocument(
  model: string,
  spec: DeviceModelSpec,
  plan: BoardPlan,
  board: { readonly unit: number; readonly baud: number; readonly hash: Uint8Array },
): string {
  const tables = (['coil', 'discrete', 'holding', 'input'] as const).flatMap((table) => {
    const rows = plan.properties.filter(
      (each) =>
        each.table === table ||
        (each.writeAddress !== undefined &&
          table === (each.table === 'coil' || each.table === 'discrete' ? 'coil' : 'holding')),
    )
    return rows.length === 0 ? [] : [section(table, rows)]
  })
  const scales = plan.scales.map(
    ({ table, address, exponent }) => `| ${table} ${address} | int16 | power of ten: ${exponent} |`,
  )
  return `${[
    `# ${model}: Modbus registers`,
    ...(spec.description === undefined ? [] : [cell(spec.description)]),
    `Unit ${board.unit}, ${board.baud} baud, RTU. Addresses count from 0. Model hash ${Buffer.from(board.hash).toString('hex')}.`,
    ...tables,
    ...(scales.length === 0
      ? []
      : [`## Scale registers\n\n| register | type | says |\n| --- | --- | --- |\n${scales.join('\n')}`]),
    `## Of every board\n\nInput registers from ${SYSTEM_ADDRESS} (0x${SYSTEM_ADDRESS.toString(16).toUpperCase()}) on: 0x534C, layout 1, the model hash (4 registers), version (major and minor in a byte each), revision, slot, boot state, reset reason, uptime in seconds (2), frames, CRC errors, overruns, requests served, exceptions, unique id (4). Function 43/14 gives the same hash as object 0x80.`,
  ].join('\n\n')}\n`
}

function section(table: keyof typeof TITLES, rows: readonly BoardProperty[]): string {
  const bit = table === 'coil' || table === 'discrete'
  const place = (each: BoardProperty): number => (each.table === table ? each.address : each.writeAddress!)
  const lines = rows
    .toSorted((a, b) => place(a) - place(b) || (a.field?.first ?? 0) - (b.field?.first ?? 0))
    .map((each) => {
      const { property, registers, field, format, binding } = each
      const at = place(each)
      const end = at + registers - 1
      const span = end === at ? `${at}` : `${at} to ${end}`
      const bits =
        field === undefined
          ? ''
          : field.count === 1
            ? `, bit ${field.first}`
            : `, bits ${field.first} to ${field.first + field.count - 1}`
      const type = bit
        ? 'bit'
        : `${format.as}${registers > 1 && format.order !== 'big' ? ` ${format.order}` : ''}${bits}`
      const value = [
        ...(binding.map === undefined
          ? []
          : [
              Object.entries(binding.map)
                .map(([raw, word]) => `${raw} ${word}`)
                .join(', '),
            ]),
        ...(binding.scale === undefined && binding.offset === undefined
          ? []
          : [`raw * ${binding.scale ?? 1}${binding.offset === undefined ? '' : ` + ${binding.offset}`}`]),
        ...(each.exponent === undefined ? [] : [`raw * 10^${each.exponent}`]),
        ...(property.enum === undefined ? [] : [`one of ${property.enum.map(String).join(', ')}`]),
        ...(property.min === undefined && property.max === undefined
          ? []
          : [`${property.min ?? ''} to ${property.max ?? ''}`]),
      ].join('; ')
      return `| ${span} | ${cell(property.name)} | ${type} | ${property.access ?? 'read'} | ${cell(property.unit ?? '')} | ${cell(value)} | ${cell(property.description ?? '')} |`
    })
  return `## ${TITLES[table]}\n\n| address | property | type | access | unit | value | |\n| --- | --- | --- | --- | --- | --- | --- |\n${lines.join('\n')}`
}

/** Name of each property by the key that CBOR frames carry: small numbers that stay the same. */
export const keyTable = (plan: BoardPlan): string =>
  `# Generated: CBOR key by property.\n${stringify(Object.fromEntries(plan.properties.map(({ property, number }) => [property.name, number])))}`

export interface GatewayEntry {
  readonly model: string
  readonly device: string
  readonly namespace: string | undefined
  readonly port: string
  readonly baud: number
  readonly parity: 'none' | 'even' | 'odd'
  readonly stopBits: 1 | 2
  readonly unit: number
}

/** The model as the board has it: every property bound, and the gateway told to compare the hash. */
export function gatewayModel(spec: DeviceModelSpec): DeviceModelSpec {
  const { coilsFromZero: _, forbidden: __, ...options } = (spec['modbus'] ?? {}) as Record<string, unknown>
  // Addresses between the properties do not exist on a board, so that reading across them is refused.
  return { ...spec, modbus: { maxGap: 0, ...options, checkModel: true } }
}

/** What a gateway is given: the model and a device of it. */
export function gatewayDocuments(spec: DeviceModelSpec, entry: GatewayEntry): readonly object[] {
  const metadata = (name: string) => ({
    name,
    ...(entry.namespace === undefined ? {} : { namespace: entry.namespace }),
  })
  const { port, baud, parity, stopBits, unit, model, device } = entry
  const rtu = { port, baud, ...(parity === 'none' ? {} : { parity }), ...(stopBits === 1 ? {} : { stopBits }) }
  return [
    { apiVersion: API_VERSION, kind: 'DeviceModel', metadata: metadata(model), spec: gatewayModel(spec) },
    { apiVersion: API_VERSION, kind: 'Device', metadata: metadata(device), spec: { model, modbus: { rtu, unit } } },
  ]
}

export const gatewayYaml = (documents: readonly object[]): string =>
  `# Generated: for the gateway that this board is connected to.\n${documents.map((each) => stringify(each, { lineWidth: 120 })).join('---\n')}`
