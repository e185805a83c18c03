import { describe, expect, it } from 'vitest'
import type { KubeObject } from '../../objects.ts'
import { podKind } from './pod.ts'
import { throughEphemeralDoor } from './pod-ephemeral.ts'

const door = throughEphemeralDoor(podKind)
const pod = (ephemeralContainers?: readonly object[], more: object = {}, annotations = {}): KubeObject => ({
  ...{ apiVersion: 'v1', kind: 'Pod', metadata: { name: 'p', namespace: 'n', annotations } },
  spec: {
    containers: [{ name: 'main', image: 'x', imagePullPolicy: 'Always' }],
    ...(ephemeralContainers === undefined ? {} : { ephemeralContainers }),
    ...more,
  },
})
const debug = (more: object = {}) => ({ name: 'debug', image: 'busybox:1', imagePullPolicy: 'IfNotPresent', ...more })
const said = (given: KubeObject, old = pod()) =>
  door.validate!(given, old).map(({ field, message }) => `${field}: ${message}`)

describe('ephemeral containers of a pod', () => {
  it('are added through their door, which leaves out whatever else is asked for', () => {
    const given = pod([debug()], { containers: [{ name: 'other', image: 'y' }], nodeName: 'elsewhere' })
    const next = door.prepare!(given, pod())
    expect(next['spec']).toEqual({ ...(pod()['spec'] as object), ephemeralContainers: [debug()] })
    expect(said(next)).toEqual([])
  })

  it('are not changed nor removed, and have no other door', () => {
    const old = pod([debug()])
    expect(said(pod([debug({ image: 'other' })]), old)).toEqual([
      'spec.ephemeralContainers: Forbidden: existing ephemeral containers "debug" may not be changed\n',
    ])
    expect(said(pod(), old)).toEqual([
      'spec.ephemeralContainers: Forbidden: existing ephemeral containers "debug" may not be removed\n',
    ])
    expect(podKind.validate!(pod([debug()]), pod())[0]?.message).toContain(
      'pod updates may not change fields other than',
    )
    expect(podKind.validate!(pod([debug()]), undefined)).toMatchObject([
      { field: 'spec.ephemeralContainers', message: 'Forbidden: cannot be set on create' },
    ])
  })

  it.each([
    [{ name: '' }, 'spec.ephemeralContainers[0].name: Required value'],
    [{ name: 'main' }, 'spec.ephemeralContainers[0].name: Duplicate value: "main"'],
    [{ image: '' }, 'spec.ephemeralContainers[0].image: Required value'],
    [{ targetContainerName: 'nix' }, 'spec.ephemeralContainers[0].targetContainerName: Not found: "nix"'],
    [
      { ports: [{ containerPort: 1 }] },
      'spec.ephemeralContainers[0].ports: Forbidden: cannot be set for an Ephemeral Container',
    ],
    [
      { livenessProbe: { exec: {} } },
      'spec.ephemeralContainers[0].livenessProbe: Forbidden: cannot be set for an Ephemeral Container',
    ],
    [
      { volumeMounts: [{ name: 'v', mountPath: '/v', subPath: 'a' }] },
      'spec.ephemeralContainers[0].volumeMounts[0].subPath: Forbidden: cannot be set for an Ephemeral Container',
    ],
  ])('are checked: %j', (more, message) => {
    expect(said(pod([debug(more)]))).toEqual([message])
  })

  it('are not for a pod that a gateway runs from a file', () => {
    const mirror = { 'kubernetes.io/config.mirror': 'a' }
    expect(said(pod([debug()], {}, mirror), pod(undefined, {}, mirror))).toEqual([
      ': Forbidden: static pods do not support ephemeral containers',
    ])
  })
})
