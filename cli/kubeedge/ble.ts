import type { Fields } from '../../api/yaml/fragments.ts'
import { isFields } from '../../api/yaml/fragments.ts'
import type { KubeEdgeProperty } from './model.ts'
import type { Notes, Reader } from './notes.ts'

export function bleAddress(config: Reader, notes: Notes): Fields | undefined {
  const mac = config.text('macAddress')
  if (mac !== undefined) return { mac: mac.toUpperCase().replaceAll('-', ':') }
  notes.refuse(config.path, 'macAddress is missing', 'Add it: macAddress: "A4:C1:38:56:53:84".')
  return undefined
}

const OPERATIONS = ['Add', 'Subtract', 'Multiply', 'Divide'] as const

export function bleVisitor(config: Reader, property: KubeEdgeProperty, notes: Notes): Fields | undefined {
  const characteristic = config.text('characteristicUUID')
  if (characteristic === undefined) {
    notes.refuse(config.path, 'characteristicUUID is missing', `Say which characteristic ${property.name} is.`)
  }
  config.skip('dataType')
  config.leaveOut('customizedValues', 'Nothing here reads them.')
  const writeValues = writeValuesOf(config, notes)
  const converter = config.has('dataConverter') ? converterOf(config.map('dataConverter')) : undefined
  config.end()
  const number = property.type === 'int' || property.type === 'float'
  return {
    characteristic,
    ...(converter !== undefined ? { converter } : number ? {} : { as: property.type }),
    ...(writeValues === undefined ? {} : { writeValues }),
  }
}

function converterOf(from: Reader): Fields {
  const shiftLeft = from.number('shiftLeft')
  const shiftRight = from.number('shiftRight')
  const operations = from.list('orderOfOperations').map((one) => {
    const type = one.word('operationType', OPERATIONS)
    const value = one.number('operationValue')
    one.end()
    return { type: type?.toLowerCase(), value }
  })
  const out = {
    start: from.number('startIndex') ?? 0,
    end: from.number('endIndex') ?? 0,
    ...(shiftLeft === undefined || shiftLeft === 0 ? {} : { shiftLeft }),
    ...(shiftRight === undefined || shiftRight === 0 ? {} : { shiftRight }),
    ...(operations.length === 0 ? {} : { operations }),
  }
  from.end()
  return out
}

/** Bytes by value: base64, as Kubernetes writes bytes, or a list of numbers. */
function writeValuesOf(config: Reader, notes: Notes): Fields | undefined {
  const given = config.any('dataWrite')
  if (given === undefined) return undefined
  const path = config.at('dataWrite')
  if (!isFields(given)) {
    notes.refuse(path, 'dataWrite is a map of bytes by value', "Write dataWrite: {'ON': AQ==}.")
    return undefined
  }
  return Object.fromEntries(
    Object.entries(given).map(([value, bytes]) => {
      const hex = hexOf(bytes)
      if (hex === undefined)
        notes.refuse([...path, value], 'these are no bytes in base64', 'Write AQ== for the byte 01.')
      return [value, hex ?? '']
    }),
  )
}

function hexOf(bytes: unknown): string | undefined {
  if (Array.isArray(bytes)) {
    const fits = bytes.every((byte) => Number.isInteger(byte) && byte >= 0 && byte <= 255)
    return fits ? Buffer.from(bytes as number[]).toString('hex') : undefined
  }
  if (typeof bytes !== 'string' || !/^[A-Za-z0-9+/]+={0,2}$/.test(bytes) || bytes.length % 4 !== 0) return undefined
  return Buffer.from(bytes, 'base64').toString('hex')
}
