import type { Advertised } from './ad.ts'
import {
  APPLE_COMPANY,
  decodeEddystone,
  decodeIbeacon,
  EDDYSTONE_FIELDS,
  EDDYSTONE_UUID,
  IBEACON_FIELDS,
} from './beacons.ts'
import { BTHOME_FIELDS, BTHOME_UUID, decodeBthome } from './bthome.ts'
import type { DecodeContext, Decoded } from './fields.ts'
import { decodeGovee, GOVEE_COMPANY, GOVEE_COMPANY_LATER, GOVEE_FIELDS } from './govee.ts'
import { decodeMibeacon, MIBEACON_FIELDS, MIBEACON_UUID } from './mibeacon.ts'
import { decodeRuuvi, RUUVI_COMPANY, RUUVI_FIELDS } from './ruuvi.ts'

/** One published format of advertisements. */
export interface AdvertFormat {
  readonly name: AdvertFormatName
  readonly title: string
  readonly fields: readonly string[]
  readonly encrypts: boolean
  /** Undefined when the advertisement is not of this format at all. Never throws. */
  decode(advertised: Advertised, context: DecodeContext): Decoded | undefined
}

export const ADVERT_FORMATS = ['bthome', 'miBeacon', 'ruuvi', 'eddystone', 'ibeacon', 'govee'] as const
export type AdvertFormatName = (typeof ADVERT_FORMATS)[number]

const ofService =
  (uuid: string, decode: (data: Uint8Array, context: DecodeContext) => Decoded): AdvertFormat['decode'] =>
  ({ serviceData }, context) => {
    for (const one of serviceData) if (one.uuid === uuid) return decode(one.data, context)
    return undefined
  }

export const companyOf = (manufacturer: Uint8Array): number => manufacturer[0]! | (manufacturer[1]! << 8)

const ofCompany =
  (wants: (data: Uint8Array) => boolean, decode: (data: Uint8Array) => Decoded): AdvertFormat['decode'] =>
  ({ manufacturer }) => {
    for (const data of manufacturer) if (wants(data)) return decode(data)
    return undefined
  }

export const FORMATS: Readonly<Record<AdvertFormatName, AdvertFormat>> = {
  bthome: {
    name: 'bthome',
    title: 'BTHome v2',
    fields: BTHOME_FIELDS,
    encrypts: true,
    decode: ofService(BTHOME_UUID, decodeBthome),
  },
  miBeacon: {
    name: 'miBeacon',
    title: 'Xiaomi MiBeacon',
    fields: MIBEACON_FIELDS,
    encrypts: true,
    decode: ofService(MIBEACON_UUID, decodeMibeacon),
  },
  ruuvi: {
    name: 'ruuvi',
    title: 'RuuviTag RAWv2',
    fields: RUUVI_FIELDS,
    encrypts: false,
    decode: ofCompany((data) => companyOf(data) === RUUVI_COMPANY, decodeRuuvi),
  },
  eddystone: {
    name: 'eddystone',
    title: 'Eddystone',
    fields: EDDYSTONE_FIELDS,
    encrypts: false,
    decode: ofService(EDDYSTONE_UUID, decodeEddystone),
  },
  ibeacon: {
    name: 'ibeacon',
    title: 'iBeacon',
    fields: IBEACON_FIELDS,
    encrypts: false,
    decode: ofCompany((data) => companyOf(data) === APPLE_COMPANY && data[2] === 0x02, decodeIbeacon),
  },
  govee: {
    name: 'govee',
    title: 'Govee thermometer',
    fields: GOVEE_FIELDS,
    encrypts: false,
    decode: ofCompany((data) => {
      const company = companyOf(data)
      return company === GOVEE_COMPANY || (company === GOVEE_COMPANY_LATER && data[2] === 1 && data[3] === 1)
    }, decodeGovee),
  },
}

export const isKnownField = (format: AdvertFormatName, field: string): boolean => {
  const { fields } = FORMATS[format]
  return fields.includes(field) || (format === 'bthome' && fields.includes(field.replace(/[2-9]$/, '')))
}
