import { existsSync, readdirSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import type { Device, DeviceModel, Json, ModelProperty } from '../../api/resources.ts'
import { validateResource } from '../../api/validate.ts'
import { deviceFindings } from '../../api/validate-set.ts'
import { catalogueFiles, EVIDENCE, protocolsOf } from '../../cli/catalogue.ts'
import { catalogueFolder } from '../../cli/catalogue-folder.ts'
import { type ReadFiles, readModelFiles } from '../../cli/model-files.ts'
import { protocols } from '../../mappers/registry.ts'
import type { DeviceBinding, Protocol } from '../../mappers/sdk/mapper.ts'
import { closeDecoders, commandOf, readAdvertisement, readMessages, readUplink } from './message-wire.ts'
import { readAll, writeOne } from './modbus-wire.ts'
import { readVectors, type Vector, vectorPath } from './vectors.ts'
import { oddNames } from './vocabulary.ts'

const files = catalogueFiles()

afterAll(closeDecoders)

/** Decodes a vector with the mapper's own code. */
type Decode = (binding: DeviceBinding, vector: Vector) => Map<string, Json> | Promise<Map<string, Json>>

const DECODERS: Readonly<Record<string, Decode>> = {
  modbus: (binding, vector) => readAll(binding, vector.registers ?? {}),
  lora: readUplink,
  mqtt: readMessages,
  ble: readAdvertisement,
}

const protocolNamed = (name: string): Protocol => protocols.find((protocol) => protocol.name === name)!

function bindingOf(model: DeviceModel, address: Readonly<Record<string, Json>>, poll?: string): DeviceBinding {
  const device = {
    model: model.metadata.name,
    nodeName: 'gw-1',
    ...(poll === undefined ? {} : { poll: { every: poll } }),
    ...address,
  }
  return { key: 'default/one', device, model: model.spec, revision: '1' }
}

const isPolled = (property: ModelProperty): boolean => property.access !== 'write'

describe('the catalogue', () => {
  it('holds at least sixty models', () => {
    expect(files.length).toBeGreaterThanOrEqual(60)
  })

  it('has bytes that somebody else published for at least sixty models', () => {
    const published = files.filter(({ file }) =>
      readVectors(file).vectors.some(({ origin }) => origin !== 'constructed'),
    )
    expect(published.length).toBeGreaterThanOrEqual(60)
  })

  it('says of all published bytes where they stand, and claims none that were packed by hand', () => {
    const claims = files.flatMap(({ name, file }) => readVectors(file).vectors.map((vector) => ({ name, ...vector })))
    const published = claims.filter(({ origin }) => origin !== 'constructed')
    expect(published.filter(({ from }) => from.length < 8 || /by hand/.test(from)).map(({ name }) => name)).toEqual([])
  })

  it('has a vector for every model and a model for every vector', () => {
    const vectors = readdirSync(catalogueFolder()).flatMap((vendor) => {
      const folder = join(catalogueFolder(), vendor, 'vectors')
      return existsSync(folder) ? readdirSync(folder).map((name) => join(folder, name)) : []
    })
    expect(vectors.sort()).toEqual(files.map(({ file }) => vectorPath(file)).sort())
  })
})

describe.each(files)('$name', ({ name, file }) => {
  let loaded: Promise<ReadFiles> | undefined
  const load = async (): Promise<{ read: ReadFiles; model: DeviceModel }> => {
    const read = await (loaded ??= readModelFiles([file]))
    return { read, model: read.models[0]! }
  }
  const { address, poll, allow = [], vectors, writes = [], commands = [] } = readVectors(file)

  it('is valid, and the linter has nothing to say but what is explained', async () => {
    const { read, model } = await load()
    const { device } = bindingOf(model, address, poll)
    const ofDevices = await Promise.all(
      protocolsOf(model).map(async (each) => (await protocolNamed(each).lint())(model.spec, [device])),
    )
    const codes = [...read.findings, ...ofDevices.flat()].map(({ code }) => code)
    expect([...new Set(codes)].sort()).toEqual(allow.map(({ code }) => code).sort())
    for (const { reason } of allow) expect(reason).not.toBe('')
    expect(read.models).toHaveLength(1)
    expect(read.resources).toHaveLength(1)
  })

  it('is named after its place, and says who makes it, what it is and where that is published', async () => {
    const { model } = await load()
    expect(`${basename(dirname(file))}/${basename(file, '.yaml')}`).toBe(name)
    expect(model.metadata).toEqual({ name: name.replace('/', '-') })
    expect(model.metadata.name).toMatch(/^[a-z0-9]([a-z0-9-]*[a-z0-9])?$/)
    for (const words of [model.spec.vendor, model.spec.description, model.spec.source]) {
      expect(words?.length).toBeGreaterThan(1)
    }
  })

  it('uses the names, units and roles of the catalogue', async () => {
    const { model } = await load()
    expect(model.spec.properties.flatMap(oddNames)).toEqual([])
  })

  it('can be reached as its vector says, with a plan that serves every property', async () => {
    const { model } = await load()
    const binding = bindingOf(model, address, poll)
    const device: Device = {
      apiVersion: 'sluice.dev/v1alpha1',
      kind: 'Device',
      metadata: { name: 'one' },
      spec: binding.device,
    }
    expect(validateResource(device)).toEqual([])
    expect(deviceFindings(binding.device, model.spec)).toEqual([])
    for (const protocol of protocolsOf(model)) {
      const plan = (await protocolNamed(protocol).explain())(binding)
      expect(plan.load).toBeLessThan(0.9)
      expect(plan.notes.filter((note) => note.includes('is not read'))).toEqual([])
      if (protocol !== 'modbus') continue
      const served = plan.requests.flatMap(({ properties }) => properties)
      expect(served.sort()).toEqual(
        model.spec.properties
          .filter(isPolled)
          .map((each) => each.name)
          .sort(),
      )
    }
  })

  it.each(vectors)('makes the right values of its bytes: $from', async (vector) => {
    const { model } = await load()
    expect(EVIDENCE).toContain(vector.origin)
    const decode = DECODERS[protocolsOf(model)[0]!]!
    const values = await decode(bindingOf(model, address, poll), vector)
    for (const [property, wanted] of Object.entries(vector.values)) {
      const got = values.get(property)
      if (typeof wanted !== 'number') expect({ [property]: got }).toEqual({ [property]: wanted })
      else expect(got, property).toBeCloseTo(wanted, 9)
    }
  })

  it('has bytes for every property that is read', async () => {
    const { model } = await load()
    const proven = new Set(vectors.flatMap(({ values }) => Object.keys(values)))
    expect(
      model.spec.properties
        .filter(isPolled)
        .map((each) => each.name)
        .filter((each) => !proven.has(each)),
    ).toEqual([])
  })

  it.each(writes)('puts the right words on the wire: $property = $value', async (write) => {
    const { model } = await load()
    const { table, address: wireAddress, words } = write
    expect(writeOne(bindingOf(model, address, poll), write)).toEqual({ table, address: Number(wireAddress), words })
  })

  it.each(commands)('becomes the right message: $property = $value', async (command) => {
    const { model } = await load()
    const { topic, payload } = command
    expect(commandOf(bindingOf(model, address, poll), command)).toEqual({ topic, payload })
  })
})
