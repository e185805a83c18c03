import { describe, expect, it } from 'vitest'
import type { KubeObject } from '../../objects.ts'
import { namespaceKind } from './namespace.ts'
import { withNamespace } from './namespace-pods.ts'
import { podKind } from './pod.ts'

const PREFIX = 'scheduler.alpha.kubernetes.io'

function admit(annotations: Readonly<Record<string, string>>, spec: object): KubeObject {
  const given = Object.entries(annotations).map(([key, value]) => [`${PREFIX}/${key}`, value])
  const namespace = { metadata: { name: 'robots', annotations: Object.fromEntries(given) } }
  const pod = { apiVersion: 'v1', kind: 'Pod', metadata: { name: 'p', namespace: 'robots' }, spec }
  const get = (resource: string, name: string) =>
    resource === namespaceKind.resource && name === 'robots'
      ? { apiVersion: 'v1', kind: 'Namespace', ...namespace }
      : undefined
  return withNamespace(pod, { get, all: () => [] }, podKind)
}

const robot = { key: 'robot', operator: 'Exists', effect: 'NoSchedule' }
const tolerations = JSON.stringify([robot])

describe('what a namespace says of its pods', () => {
  it('adds tolerations that a pod lacks, keeps its own, and leaves pods of a namespace that says nothing', () => {
    const other = { key: 'other', value: 'x' }
    expect(admit({ defaultTolerations: tolerations }, { tolerations: [other] })).toMatchObject({
      spec: { tolerations: [other, robot] },
    })
    const own = { key: 'robot', value: 'mine', effect: 'NoSchedule' }
    expect(admit({ defaultTolerations: tolerations }, { tolerations: [own] })).toMatchObject({
      spec: { tolerations: [own] },
    })
    expect(admit({}, {})).toMatchObject({ spec: {} })
    expect(admit({}, {})).not.toHaveProperty('spec.tolerations')
  })

  it('refuses tolerations that the namespace does not allow, but for those of every node', () => {
    const allow = { tolerationsWhitelist: tolerations }
    const everybody = { key: 'node.kubernetes.io/unreachable', operator: 'Exists' }
    expect(() => admit(allow, { tolerations: [robot, everybody] })).not.toThrow()
    expect(() => admit(allow, { tolerations: [{ key: 'robot', value: 'a', effect: 'NoSchedule' }] })).not.toThrow()
    expect(() => admit(allow, { tolerations: [{ operator: 'Exists' }] })).toThrow('not allowed in namespace robots')
    expect(() => admit(allow, { tolerations: [{ ...robot, effect: 'NoExecute' }] })).toThrow('not allowed')
    expect(() => admit({ tolerationsWhitelist: '[]' }, { tolerations: [robot] })).toThrow('not allowed')
  })

  it('adds its node selector, and refuses one that contradicts it', () => {
    const site = { 'node-selector': 'site=north, kind=robot' }
    expect(admit(site, { nodeSelector: { a: 'b' } })).toMatchObject({
      spec: { nodeSelector: { a: 'b', site: 'north', kind: 'robot' } },
    })
    expect(() => admit(site, { nodeSelector: { site: 'south' } })).toThrow('conflicts with its namespace')
  })

  it('says what is wrong with an annotation, rather than to pass over it', () => {
    expect(() => admit({ defaultTolerations: 'robot' }, {})).toThrow('is no JSON list of tolerations')
    expect(() => admit({ defaultTolerations: '{"key": "robot"}' }, {})).toThrow('is no JSON list of tolerations')
    expect(() => admit({ 'node-selector': 'north' }, {})).toThrow('write key=value')
  })
})
