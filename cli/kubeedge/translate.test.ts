import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import * as fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { readYaml } from '../../api/yaml/read.ts'
import { runCommand } from '../main.ts'
import { type ReadFiles, readModelFiles } from '../model-files.ts'
import { translateKubeEdge } from './translate.ts'

let folder: string
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'sluice-kubeedge-'))
})
afterAll(() => rmSync(folder, { recursive: true, force: true }))

function file(text: string): string {
  const path = join(folder, 'site.yaml')
  writeFileSync(path, text)
  return path
}

const read = (text: string): Promise<ReadFiles> => readModelFiles([file(text)])
const errors = async (text: string) => (await read(text)).findings.filter(({ severity }) => severity === 'error')

const MODEL = `apiVersion: devices.kubeedge.io/v1beta1
kind: DeviceModel
metadata: { name: thermometer, namespace: plant }
spec:
  protocol: modbus
  properties:
    - { name: temperature, description: outside, type: FLOAT, accessMode: ReadOnly, minimum: "-40", maximum: "80", unit: degC }
    - { name: heater, type: BOOLEAN, accessMode: ReadWrite }
    - { name: count, type: INT, accessMode: ReadOnly }
`
const device = (name: string, more = '', temperature = 'scale: 0.1, isSwap: true') => `---
apiVersion: devices.kubeedge.io/v1beta1
kind: Device
metadata:
  name: ${name}
  namespace: plant
  resourceVersion: "17"
  annotations: { kubectl.kubernetes.io/last-applied-configuration: "{}", team: heat }
spec:
  deviceModelRef: { name: thermometer }
  nodeName: edge-1
  protocol: { protocolName: modbus, configData: { communicateMode: TCP, ip: 192.0.2.7, port: 5020, slaveID: 3 } }
  properties:
    - name: temperature
      collectCycle: 2000
      reportCycle: 5000
      reportToCloud: true
      visitors: { protocolName: modbus, configData: { register: InputRegister, offset: 2, limit: 1, ${temperature} } }
    - name: heater
      desired: { value: "true", metadata: { timestamp: "1700000000000" } }
      visitors: { protocolName: modbus, configData: { register: CoilRegister, offset: 4, limit: 1 } }
    - name: count
      visitors: { protocolName: modbus, configData: { register: HoldingRegister, offset: 10, limit: 2, isRegisterSwap: true } }
  methods: [{ name: switch, description: turn it on, propertyNames: [heater] }]
${more}status:
  twins: []
`

describe('manifests of KubeEdge v1beta1', () => {
  it('become a model that knows where its properties live, and a device', async () => {
    const { models, devices, findings } = await read(MODEL + device('t-1'))
    expect(findings.filter(({ severity }) => severity === 'error')).toEqual([])
    expect(models).toEqual([
      {
        apiVersion: 'sluice.dev/v1alpha1',
        kind: 'DeviceModel',
        metadata: { name: 'thermometer', namespace: 'plant' },
        spec: {
          properties: [
            {
              ...{ name: 'temperature', description: 'outside', type: 'float', unit: 'degC', min: -40, max: 80 },
              modbus: { input: 2, as: 'int16', order: 'BADC', scale: 0.1 },
              ...{ poll: { every: '2s' }, report: { heartbeat: '5s' } },
            },
            { name: 'heater', type: 'bool', access: 'readwrite', modbus: { coil: 4 } },
            { name: 'count', type: 'int', modbus: { holding: 10, as: 'uint32', order: 'CDAB' } },
          ],
          methods: [{ name: 'switch', description: 'turn it on', properties: ['heater'] }],
        },
      },
    ])
    expect(devices).toEqual([
      {
        apiVersion: 'sluice.dev/v1alpha1',
        kind: 'Device',
        metadata: { name: 't-1', namespace: 'plant', annotations: { team: 'heat' } },
        spec: {
          model: 'thermometer',
          nodeName: 'edge-1',
          modbus: { tcp: { host: '192.0.2.7', port: 5020 }, unit: 3 },
          desired: { heater: true },
        },
      },
    ])
  })

  it('devices that say the same share a model, others get one of their own', async () => {
    const { models, devices } = await read(MODEL + device('a') + device('b') + device('c', '', 'scale: 0.01'))
    expect(models.map(({ metadata }) => metadata.name)).toEqual(['thermometer', 'thermometer-c'])
    expect(devices.map(({ spec }) => spec.model)).toEqual(['thermometer', 'thermometer', 'thermometer-c'])
  })

  it('are read out of a List, as kubectl writes it', async () => {
    const documents = readYaml(MODEL + device('a'), 'x').documents
    const list = JSON.stringify({ apiVersion: 'v1', kind: 'List', items: documents.map(({ value }) => value) })
    expect((await read(list)).devices.map(({ metadata }) => metadata.name)).toEqual(['a'])
  })

  it('defaults of the model hold where the device says nothing', async () => {
    const model = MODEL.replace(
      '  properties:',
      '  protocolConfigData: { communicateMode: TCP, port: 1502, slaveID: 9 }\n  properties:',
    ).replace(
      'name: count, type: INT, accessMode: ReadOnly',
      'name: count, type: INT, visitors: { protocolName: modbus, configData: { register: HoldingRegister, offset: 1, limit: 1, scale: 10 } }',
    )
    const text = (model + device('a')).replace(', port: 5020, slaveID: 3', '')
    const { models, devices } = await read(text)
    expect(devices[0]?.spec['modbus']).toEqual({ tcp: { host: '192.0.2.7', port: 1502 }, unit: 9 })
    expect(models[0]?.spec.properties[2]?.['modbus']).toEqual({ holding: 10, as: 'uint32', order: 'CDAB', scale: 10 })
  })

  it.each([
    [
      'another protocol',
      'protocolName: modbus, configData: { communicateMode',
      'protocolName: opcua, configData: { communicateMode',
      /opcua/,
    ],
    ['an unknown field', 'slaveID: 3', 'slaveId: 3', /slaveId/],
    ['an unknown register', 'InputRegister', 'InputRegisters', /InputRegisters/],
    ['a wrong number of registers', 'offset: 10, limit: 2', 'offset: 10, limit: 3', /3 registers/],
    ['a desired value that is none', 'value: "true"', 'value: "perhaps"', /perhaps/],
    ['a property the model does not have', 'name: count\n      visitors', 'name: cuont\n      visitors', /cuont/],
    [
      'a property nobody says the place of',
      '      visitors: { protocolName: modbus, configData: { register: CoilRegister, offset: 4, limit: 1 } }\n',
      '',
      /where heater is/,
    ],
    ['no address', 'ip: 192.0.2.7, ', '', /ip is missing/],
    ['a stream', 'type: BOOLEAN', 'type: STREAM', /streams/],
    [
      'a model that is not there',
      'deviceModelRef: { name: thermometer }',
      'deviceModelRef: { name: barometer }',
      /barometer/,
    ],
    ['an unknown version', 'kubeedge.io/v1beta1\nkind: Device\n', 'kubeedge.io/v1\nkind: Device\n', /version/],
  ])('%s is refused with file, line and field', async (_what, from, to, message) => {
    const text = MODEL + device('t-1')
    expect(text).toContain(from)
    const found = await errors(text.replace(from, to))
    const one = found.find((each) => message.test(each.message))
    expect(one, JSON.stringify(found)).toMatchObject({ code: 'SLUICE_KUBEEDGE', file: join(folder, 'site.yaml') })
    expect(one!.line).toBeGreaterThan(1)
    expect(one!.path.length).toBeGreaterThan(0)
  })

  it('what is left out is told, and does not stop the rest', async () => {
    const push = '      pushMethod: { mqtt: { address: "tcp://x", topic: t } }\n'
    const text =
      MODEL +
      device('t-1').replace(
        '      visitors: { protocolName: modbus, configData: { register: Coil',
        `${push}      visitors: { protocolName: modbus, configData: { register: Coil`,
      )
    const { devices, findings } = await read(text)
    expect(devices).toHaveLength(1)
    expect(findings).toMatchObject([
      { code: 'SLUICE_KUBEEDGE_LEFT_OUT', severity: 'warning', path: ['spec', 'properties', 1, 'pushMethod'] },
    ])
  })

  it("what our own linter finds is told at the manifest's line", async () => {
    const text = MODEL.replace('minimum: "-40"', 'minimum: "90"') + device('t-1')
    const found = await errors(text)
    expect(found.length).toBeGreaterThan(0)
    expect(found.every(({ line }) => line === 7)).toBe(true)
  })
})

const OLD = `apiVersion: devices.kubeedge.io/v1alpha2
kind: DeviceModel
metadata: { name: tag }
spec:
  properties:
    - { name: temperature, type: { double: { accessMode: ReadOnly, unit: degC } } }
    - { name: led, type: { string: { accessMode: ReadWrite, defaultValue: "OFF" } } }
---
apiVersion: devices.kubeedge.io/v1alpha2
kind: Device
metadata: { name: tag-1 }
spec:
  deviceModelRef: { name: tag }
  protocol: { bluetooth: { macAddress: "bc:6a:29:ae:cc:96" } }
  nodeSelector: { nodeSelectorTerms: [{ matchExpressions: [{ key: "", operator: In, values: [edge-1] }] }] }
  propertyVisitors:
    - propertyName: temperature
      collectCycle: 500000000
      bluetooth:
        characteristicUUID: f000aa0104514000b000000000000000
        dataConverter: { startIndex: 2, endIndex: 1, shiftRight: 2, orderOfOperations: [{ operationType: Multiply, operationValue: 0.03125 }] }
    - propertyName: led
      bluetooth: { characteristicUUID: f000aa0204514000b000000000000000, dataWrite: { "ON": AQ==, "OFF": AA== } }
`

describe('manifests of KubeEdge v1alpha2', () => {
  it('of Bluetooth devices keep their converters and the bytes they write', async () => {
    const { models, devices, findings } = await read(OLD)
    expect(findings.filter(({ severity }) => severity === 'error')).toEqual([])
    expect(models[0]?.spec.properties).toEqual([
      {
        ...{ name: 'temperature', type: 'float', unit: 'degC', poll: { every: '500ms' } },
        ble: {
          characteristic: 'f000aa0104514000b000000000000000',
          converter: { start: 2, end: 1, shiftRight: 2, operations: [{ type: 'multiply', value: 0.03125 }] },
        },
      },
      {
        ...{ name: 'led', type: 'string', access: 'readwrite' },
        ble: { characteristic: 'f000aa0204514000b000000000000000', as: 'string', writeValues: { ON: '01', OFF: '00' } },
      },
    ])
    expect(devices[0]?.spec).toEqual({ model: 'tag', nodeName: 'edge-1', ble: { mac: 'BC:6A:29:AE:CC:96' } })
    expect(findings).toMatchObject([{ code: 'SLUICE_KUBEEDGE_LEFT_OUT', line: 7 }])
  })

  it('of a serial line keep its settings', async () => {
    const text = OLD.replace(
      /protocol: .*/,
      'protocol: { modbus: { slaveID: 5 }, common: { com: { serialPort: /dev/ttyS0, baudRate: 19200, dataBits: 8, parity: even, stopBits: 1 }, collectTimeout: 500 } }',
    )
      .replace(/bluetooth:\n.*\n.*\n/, 'modbus: { register: HoldingRegister, offset: 0, limit: 2 }\n')
      .replace(/bluetooth: \{ char.*/, 'modbus: { register: HoldingRegister, offset: 8, limit: 4 }')
    const { devices, models } = await read(text)
    expect(devices[0]?.spec['modbus']).toEqual({
      rtu: { port: '/dev/ttyS0', baud: 19200, parity: 'even' },
      unit: 5,
      timeout: '500ms',
    })
    expect(models[0]?.spec.properties.map(({ modbus }) => modbus)).toEqual([
      { holding: 0, as: 'float32' },
      { holding: 8, as: 'string', length: 4 },
    ])
  })
})

it('the verb prints what can be applied, and nothing when something is refused', async () => {
  const run = async (text: string) => {
    let stdout = ''
    let stderr = ''
    const code = await runCommand(['import', 'kubeedge', file(text)], {
      stdout: { write: (chunk) => (stdout += chunk), columns: 120 },
      stderr: { write: (chunk) => (stderr += chunk) },
      env: {},
      signal: new AbortController().signal,
    })
    return { code, stdout, stderr }
  }
  const good = await run(MODEL + device('t-1'))
  expect(good.code).toBe(0)
  expect((await read(good.stdout)).devices).toHaveLength(1)
  const bad = await run(MODEL + device('t-1').replace('slaveID: 3', 'slaveId: 3'))
  expect(bad).toMatchObject({ code: 2, stdout: '' })
  expect(bad.stderr).toContain('slaveId')
})

it('never throws, whatever the manifests hold', () => {
  const leaf = fc.oneof(fc.string({ maxLength: 8 }), fc.integer(), fc.boolean(), fc.constant(null))
  const keys = [
    'name',
    'type',
    'properties',
    'protocol',
    'configData',
    'visitors',
    'modbus',
    'bluetooth',
    'common',
    'com',
    'tcp',
  ]
  const more = [
    'register',
    'offset',
    'limit',
    'propertyVisitors',
    'propertyName',
    'deviceModelRef',
    'desired',
    'value',
    'dataWrite',
    'methods',
  ]
  const { tree } = fc.letrec((tie) => ({
    tree: fc.oneof(
      { maxDepth: 5, withCrossShrink: true },
      leaf,
      fc.dictionary(fc.constantFrom(...keys, ...more), tie('tree'), { maxKeys: 5 }),
      fc.array(tie('tree'), { maxLength: 3 }),
    ),
  }))
  const document = fc.record({
    apiVersion: fc.constantFrom('devices.kubeedge.io/v1beta1', 'devices.kubeedge.io/v1alpha2'),
    kind: fc.constantFrom('Device', 'DeviceModel'),
    metadata: fc.record({ name: fc.constantFrom('a', 'b') }),
    spec: tree,
  })
  fc.assert(
    fc.property(fc.array(document, { maxLength: 4 }), (documents) => {
      const text = documents.map((each) => JSON.stringify(each)).join('\n---\n')
      translateKubeEdge(readYaml(text, 'x').documents)
    }),
  )
})
