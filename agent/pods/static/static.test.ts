import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { SluiceError } from '../../../api/errors.ts'
import { isStaticPod, type StaticPod } from '../../../api/link/static-pods.ts'
import { VirtualClock } from '../../../api/virtual-clock.ts'
import { StaticFolder } from './folder.ts'
import { readManifest } from './read.ts'

const POD = `apiVersion: v1
kind: Pod
metadata:
  name: web
  labels: {app: web}
spec:
  containers:
  - name: main
    image: test/busybox:1
    ports: [{containerPort: 80}]
    readinessProbe: {httpGet: {port: 80}, periodSeconds: 5}
    resources: {limits: {memory: 64Mi}}
`

describe('a manifest of a gateway', () => {
  it('names its pods after the gateway and has uids that are what they are', () => {
    const { pods, errors } = readManifest(POD, '/m/web.yaml', 'gw-1')
    expect(errors).toEqual([])
    expect(pods).toMatchObject([
      {
        key: 'default/web-gw-1',
        object: {
          metadata: { labels: { app: 'web' }, annotations: { 'kubernetes.io/config.source': 'file' } },
          spec: { nodeName: 'gw-1' },
        },
      },
    ])
    expect(pods.every(isStaticPod)).toBe(true)
    const uid = (text: string, gateway = 'gw-1') => readManifest(text, '/m/x.yaml', gateway).pods[0]!.object.uid
    expect(uid(`# a word\n${POD}`)).toBe(uid(POD))
    expect(uid(POD.replace('64Mi', '65Mi'))).not.toBe(uid(POD))
    expect(uid(POD, 'gw-2')).not.toBe(uid(POD))
  })

  it('may be JSON, and may have several documents', () => {
    const json = JSON.stringify({
      ...{ apiVersion: 'v1', kind: 'Pod', metadata: { name: 'j', namespace: 'plant' } },
      spec: { containers: [{ name: 'c', image: 'x' }] },
    })
    expect(readManifest(json, 'j.json', 'gw').pods.map(({ key }) => key)).toEqual(['plant/j-gw'])
    const two = readManifest(`${POD}---\n${POD.replace('name: web', 'name: db')}`, 'two.yaml', 'gw')
    expect(two.pods.map(({ key }) => key)).toEqual(['default/web-gw', 'default/db-gw'])
  })

  it.each([
    ['a field that is not there', 'image: ', 'imagee: ', 9, "spec.containers[0].imagee: there is no field 'imagee'"],
    [
      'a wrong type',
      'periodSeconds: 5',
      'periodSeconds: soon',
      11,
      'readinessProbe.periodSeconds: "soon" is not a whole',
    ],
    [
      'a wrong word',
      'image: test',
      'imagePullPolicy: Alway\n    image: test',
      9,
      '"Alway" is not one of Always, IfNotPresent',
    ],
    ['a quantity', '64Mi', '64MB', 12, 'limits.memory: "64MB" is not a quantity'],
    ['a secret', 'resources:', 'envFrom: [{secretRef: {name: s}}]\n    resources:', 12, "cannot have 'envFrom'"],
    ['another kind', 'kind: Pod', 'kind: Deployment', 2, 'kind: this is a v1 Deployment'],
    ['no container', '  - name: main', '  - name: Main!', 7, "'Main!' is no name"],
    ['a name', 'name: web', 'name: Web_1', 4, "metadata.name: 'Web_1-gw' is no name of a pod"],
    ['broken YAML', 'spec:', 'spec: [', 13, ''],
  ])('says where %s is', (_, from, to, line, words) => {
    const { pods, errors } = readManifest(POD.replace(from, to), '/m/web.yaml', 'gw')
    expect(pods).toEqual([])
    const [first] = errors
    const text = `${first!.path.map((step) => (typeof step === 'number' ? `[${step}]` : `.${step}`)).join('')}: ${first!.message}`
    expect(text.slice(1)).toContain(words)
    if (words !== '') expect(first).toMatchObject({ file: '/m/web.yaml', line, code: 'SLUICE_POD_STATIC' })
    expect(first!.hint).not.toBe('')
  })

  it('never throws, whatever is in it', () => {
    const json = fc
      .json()
      .map((text) => `{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x"}, "spec": ${text}}`)
    fc.assert(
      fc.property(fc.oneof(fc.string(), json), (text) => {
        const { pods, errors } = readManifest(text, 'f', 'gw')
        expect(pods.length === 0 || errors.length === 0 || text.includes('---')).toBe(true)
        expect(pods.every(isStaticPod)).toBe(true)
      }),
    )
  })
})

describe('a folder of manifests', () => {
  let folder: string
  let clock: VirtualClock
  let disk: Map<string, string>
  let given: (readonly StaticPod[])[]
  let troubles: SluiceError[]
  let tell: () => void
  let statics: StaticFolder

  const start = (watches = true) =>
    new StaticFolder({
      ...{ folder, clock, gateway: 'gw' },
      storage: {
        get: (key) => disk.get(key),
        keys: () => [...disk.keys()].sort(),
        put(entries) {
          for (const [key, value] of Object.entries(entries)) {
            if (value === undefined) disk.delete(key)
            else disk.set(key, value)
          }
        },
      },
      onPods: (pods) => given.push(pods),
      onTrouble: (error) => troubles.push(error),
      watchFolder(_, onChange) {
        if (!watches) throw new Error('no watches are left')
        tell = onChange
        return { [Symbol.dispose]: () => {} }
      },
    })
  const write = (name: string, text: string) => writeFileSync(join(folder, name), text)
  const keys = () => given.at(-1)?.map(({ key }) => key)
  /** Somebody has changed something, and it has settled. */
  const changed = async () => {
    tell()
    await clock.advance(200)
    await statics.open()
  }

  beforeEach(async () => {
    folder = join(mkdtempSync(join(tmpdir(), 'sluice-static-')), 'manifests')
    clock = new VirtualClock()
    ;[disk, given, troubles] = [new Map(), [], []]
    statics = start()
    await statics.open()
  })
  afterEach(async () => {
    await statics[Symbol.asyncDispose]()
    rmSync(join(folder, '..'), { recursive: true })
  })

  it('is made, and what comes, changes and goes is told once', async () => {
    write('web.yaml', POD)
    write('.web.yaml.swp', 'rubbish')
    write('README', 'rubbish')
    await changed()
    expect(keys()).toEqual(['default/web-gw'])
    await changed()
    expect(given).toHaveLength(1)
    write('web.yaml', POD.replace('64Mi', '65Mi'))
    await changed()
    expect(given).toHaveLength(2)
    rmSync(join(folder, 'web.yaml'))
    await changed()
    expect(keys()).toEqual([])
    expect(troubles).toEqual([])
  })

  it('keeps what was in force of a file that went bad, says so once, and leaves others alone', async () => {
    write('web.yaml', POD)
    await changed()
    const good = given.at(-1)
    write('web.yaml', POD.replace('image:', 'imagee:'))
    write('db.yaml', POD.replace('name: web', 'name: db'))
    await changed()
    await changed()
    expect(keys()).toEqual(['default/db-gw', 'default/web-gw'])
    expect(given.at(-1)![1]).toEqual(good![0])
    expect(troubles.map(({ message }) => message)).toEqual([
      expect.stringMatching(/web\.yaml:9:\d+: spec\.containers\[0\]\.imagee: .* What was in force stays\.$/s),
    ])
    // An agent that begins anew knows it, too.
    await statics[Symbol.asyncDispose]()
    statics = start()
    await statics.open()
    expect(keys()).toEqual(['default/db-gw', 'default/web-gw'])
  })

  it('does not take the same pod from two files', async () => {
    write('a.yaml', POD)
    write('b.yaml', POD)
    await changed()
    expect(keys()).toEqual(['default/web-gw'])
    expect(troubles.map(({ message }) => message)).toEqual([expect.stringMatching(/b\.yaml.*a\.yaml already has/)])
  })

  it('does not take a folder that cannot be read for an empty one', async () => {
    write('web.yaml', POD)
    await changed()
    rmSync(folder, { recursive: true })
    writeFileSync(folder, 'not a folder')
    await changed()
    expect(given).toHaveLength(1)
    expect(troubles).toHaveLength(1)
    rmSync(folder)
    mkdirSync(folder)
    write('db.yaml', POD.replace('name: web', 'name: db'))
    await clock.advance(20_000)
    await statics.open()
    expect(keys()).toEqual(['default/db-gw'])
  })

  it('is looked at every 20 s where nobody tells of changes', async () => {
    await statics[Symbol.asyncDispose]()
    statics = start(false)
    await statics.open()
    write('web.yaml', POD)
    await clock.advance(20_000)
    await statics.open()
    expect(keys()).toEqual(['default/web-gw'])
  })
})
