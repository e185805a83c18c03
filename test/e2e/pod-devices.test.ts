import { execFileSync } from 'node:child_process'
import { chmodSync, copyFileSync, mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { busyboxImage, type MadeImage, missingForPods } from '../../agent/pods/images/busybox.test-helper.ts'
import { compileWasm, missingForWasm, wasmArtifact } from '../../agent/pods/images/wasm.test-helper.ts'
import { hostProgram } from '../../agent/pods/life/host-programs.test-helper.ts'
import { boxesGone } from '../harness/boxes-gone.ts'
import { temporaryFolder } from '../harness/folder.ts'
import { Stack } from '../harness/stack.ts'
import { eventually } from '../harness/until.ts'

const missing = missingForPods() ?? missingForWasm()
// A machine without them may skip this; a CI run without them has to fail and say so.
const skipped = missing !== undefined && process.env['CI'] === undefined

const DRIVE = 1

describe.skipIf(skipped)(`what pods of a gateway ask for ${missing ?? ''}`, () => {
  let stack: Stack
  let image: MadeImage
  let folder: ReturnType<typeof temporaryFolder>

  beforeAll(async () => {
    image = busyboxImage({ name: 'test/busybox:1' })
    folder = temporaryFolder('pod-devices')
    chmodSync(folder.path, 0o711)
    const archives = join(folder.path, 'import')
    mkdirSync(archives, { mode: 0o700 })
    copyFileSync(image.archive, join(archives, 'busybox.tar'))
    using module = wasmArtifact(
      compileWasm('#include <stdio.h>\nint main() { puts("hello from wasm"); }'),
      'test/hello:1',
    )
    execFileSync('tar', ['-C', module.folder, '-cf', join(archives, 'hello.tar'), '.'])
    stack = await Stack.start({ agentFlags: ['--pods', 'process', '--pods-dir', folder.path] })
    const made = await stack.kubectlWith(manifests(), 'apply', '-f', '-')
    expect(made).toMatchObject({ code: 0 })
    await kubectl('wait', 'device/drive-1', '--for=jsonpath={.status.state}=online', '--timeout=30s')
  }, 90_000)

  afterAll(async () => {
    await kubectl('delete', 'pods', '--all', '--wait', '--timeout=40s')
    await boxesGone(folder.path)
    await stack[Symbol.asyncDispose]()
    folder[Symbol.dispose]()
    image[Symbol.dispose]()
  }, 60_000)

  beforeEach(() => stack.tellOnFailure())

  const kubectl = (...args: readonly string[]) => stack.kubectl(...args)
  const manifests = () => `
apiVersion: sluice.dev/v1alpha1
kind: DeviceModel
metadata: { name: drive }
spec:
  properties:
    - { name: speed, type: int, access: readwrite, min: 0, max: 3000, modbus: { holding: 0 }, write: { deadline: 5s } }
---
apiVersion: sluice.dev/v1alpha1
kind: Device
metadata: { name: drive-1 }
spec:
  model: drive
  nodeName: ${stack.gateway}
  modbus: { tcp: { host: 127.0.0.1, port: ${stack.far.port} }, unit: ${DRIVE}, timeout: 5s }
  poll: { every: 100ms }
`
  const pod = (name: string, spec: object, annotations: object = {}) =>
    stack.kubectlWith(
      JSON.stringify({
        ...{ apiVersion: 'v1', kind: 'Pod', metadata: { name, annotations } },
        spec: { restartPolicy: 'Never', terminationGracePeriodSeconds: 1, nodeName: stack.gateway, ...spec },
      }),
      ...['apply', '-f', '-'],
    )

  it('is a device, whose twin a pod reads and writes by its socket, down to the wire', async () => {
    const node = hostProgram(process.execPath, 'node')
    const program = `
      const { request } = require('node:http')
      const asked = request({ socketPath: process.env.SLUICE_DEVICE_DRIVE_1, method: 'PUT', path: '/speed?wait=10s' }, (answer) => {
        answer.on('data', (part) => process.stdout.write(part))
      })
      asked.end('{"value": 1234}')`
    const main = { name: 'main', image: 'test/busybox:1', command: ['/node', '-e', program], volumeMounts: node.mounts }
    const annotations = { 'sluice.dev/device': 'drive-1' }
    expect(await pod('driver', { containers: [main], volumes: node.volumes }, annotations)).toMatchObject({ code: 0 })
    const waited = await kubectl('wait', 'pod/driver', '--for=jsonpath={.status.phase}=Succeeded', '--timeout=40s')
    expect(waited.stdout).toContain('condition met')
    expect((await kubectl('logs', 'driver')).stdout).toContain('"value":1234,"state":"synced"')
    expect(JSON.stringify(stack.far.unit(DRIVE).written)).toContain('1234')
    const shown = ['--for=jsonpath={.status.twins[0].desired.value}=1234', '--timeout=20s']
    expect((await kubectl('wait', 'device/drive-1', ...shown)).stdout).toContain('condition met')
  }, 90_000)

  it('is WebAssembly, by its runtime class', async () => {
    const containers = [{ name: 'main', image: 'test/hello:1' }]
    expect(await pod('module', { runtimeClassName: 'wasm', containers })).toMatchObject({ code: 0 })
    await kubectl('wait', 'pod/module', '--for=jsonpath={.status.phase}=Succeeded', '--timeout=40s')
    expect((await kubectl('logs', 'module')).stdout).toBe('hello from wasm\n')
    const { stdout } = await kubectl(
      'get',
      'pod',
      'module',
      '-o',
      'jsonpath={.status.containerStatuses[0].containerID}',
    )
    expect(stdout).toMatch(/^wasm:\/\/[0-9a-f]{64}$/)
  }, 60_000)

  it('is more than there is: the pod fails with the reason and one Event with the remedy', async () => {
    const containers = [{ name: 'main', image: 'test/busybox:1', resources: { requests: { cpu: '5000' } } }]
    await pod('giant', { containers })
    await kubectl('wait', 'pod/giant', '--for=jsonpath={.status.phase}=Failed', '--timeout=30s')
    const { stdout } = await kubectl('get', 'pod', 'giant', '-o', 'jsonpath={.status.reason}: {.status.message}')
    expect(stdout).toMatch(/^OutOfcpu: .*requested: 5000000, used: \d+, capacity: \d+\. Ask for less/)
    const events = await eventually(async () => {
      const told = await kubectl('get', 'events', '--field-selector', 'involvedObject.name=giant,reason=OutOfcpu')
      return told.stdout.includes('OutOfcpu') && told.stdout
    }, 'the event')
    expect(events.trim().split('\n')).toHaveLength(['header', 'one event'].length)
  }, 60_000)

  it('shows what is short, and that nothing is', async () => {
    const told = await eventually(async () => {
      const { stdout } = await kubectl('get', 'node', stack.gateway, '-o', 'jsonpath={.status.conditions[*].type}')
      return stdout.includes('MemoryPressure') && stdout
    }, 'the conditions of the node')
    expect(told.split(' ')).toEqual(expect.arrayContaining(['Ready', 'MemoryPressure', 'DiskPressure', 'PIDPressure']))
  }, 60_000)
})
