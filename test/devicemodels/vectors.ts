import { readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import type { Json } from '../../api/resources.ts'
import type { Evidence } from '../../cli/catalogue.ts'

/**
 * What devices put on the wire and what it has to become, beside each model: `vendor/vectors/model.json`.
 *
 * `origin`: `recorded` when a device put these bytes on a wire or into the air and somebody published what it showed,
 * `documented` when the bytes and their meaning stand in a public document (`from` says which), `constructed` when they were
 * packed from the published types, scales and addresses: then the test proves our arithmetic, not the document.
 */
export interface Vector {
  readonly origin: Evidence
  readonly from: string
  /** Property values; only these are compared. */
  readonly values: Readonly<Record<string, Json>>
  /** Modbus: words as hexadecimal, bits as 0 and 1, by table and first address on the wire. */
  readonly registers?: Readonly<Record<string, Readonly<Record<string, string>>>>
  /** LoRaWAN: one uplink, its payload as hexadecimal. */
  readonly uplink?: { readonly port: number; readonly payload: string }
  /** MQTT: messages as they arrive; topics as the address fills them in. */
  readonly messages?: readonly { readonly topic: string; readonly payload: string }[]
  /** BLE: advertising data as hexadecimal, length-type-value structures. */
  readonly advertisement?: string
  /** BLE: what characteristics hold, as hexadecimal by UUID without dashes. */
  readonly characteristics?: Readonly<Record<string, string>>
}

/** A value that is written, and what has to go over the wire for it. Modbus only. */
export interface WriteVector {
  readonly origin: Evidence
  readonly from: string
  readonly property: string
  readonly value: Json
  readonly table: string
  /** On the wire, counted from 0. */
  readonly address: string
  readonly words: string
}

/** A value that is written, and the message it has to become. MQTT only. */
export interface CommandVector {
  readonly origin: Evidence
  readonly from: string
  readonly property: string
  readonly value: Json
  readonly topic: string
  readonly payload: string
}

export interface VectorFile {
  /** How such a device is usually reached: what stands in `Device.spec` beside the model. */
  readonly address: Readonly<Record<string, Json>>
  readonly poll?: string
  /** Warnings of the linter that are right for this device, and why. */
  readonly allow?: readonly { readonly code: string; readonly reason: string }[]
  readonly vectors: readonly Vector[]
  readonly writes?: readonly WriteVector[]
  readonly commands?: readonly CommandVector[]
}

export const vectorPath = (modelFile: string): string =>
  join(dirname(modelFile), 'vectors', modelFile.slice(dirname(modelFile).length + 1).replace(/\.yaml$/, '.json'))

export const readVectors = (modelFile: string): VectorFile =>
  JSON.parse(readFileSync(vectorPath(modelFile), 'utf8')) as VectorFile
