import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { KubeObject } from '../objects.ts'
import { decodeProtobuf } from '../proto/envelope.ts'
import { podKind } from '../registry/kinds/pod.ts'
import { fieldMatcher, labelMatcher } from '../registry/selectors.ts'
import { negotiate } from './accept.ts'
import { decodeBody } from './body.ts'
import { parseResourcePath } from './path.ts'

const pod = (labels: Record<string, string>): KubeObject => ({
  apiVersion: 'v1',
  kind: 'Pod',
  metadata: { name: 'p', namespace: 'n', labels },
  spec: { nodeName: 'gw' },
})
const refusal = expect.objectContaining({ httpCode: expect.any(Number) })

describe('label selectors', () => {
  it.each<[string, boolean]>([
    ['a=1', true],
    ['a==1,b', true],
    ['a!=1', false],
    ['c!=1', true],
    ['a in (1, 2)', true],
    ['a notin (1,2)', false],
    ['!c', true],
    ['!a', false],
    ['example.dev/x=y', true],
  ])('%s', (selector, matches) => {
    expect(labelMatcher(selector)?.(pod({ a: '1', b: '2', 'example.dev/x': 'y' }))).toBe(matches)
  })

  it.each(['===', 'a in 1', 'a=b c', '/x=1', 'a=*'])('refuse %s', (selector) => {
    expect(() => labelMatcher(selector)).toThrow(refusal)
  })
})

describe('field selectors', () => {
  it('match the fields a kind offers, and refuse others', () => {
    expect(fieldMatcher('spec.nodeName=gw,metadata.name!=x', podKind)?.matches(pod({}))).toBe(true)
    expect(fieldMatcher('metadata.name=p', podKind)?.name).toBe('p')
    expect(() => fieldMatcher('spec.hostname=x', podKind)).toThrow('field label not supported: spec.hostname')
  })
})

describe('paths', () => {
  it.each([
    ['/api/v1/namespaces', { plural: 'namespaces', namespace: undefined, name: undefined }],
    ['/api/v1/namespaces/x/status', { plural: 'namespaces', name: 'x', subresource: 'status' }],
    ['/api/v1/namespaces/x/pods/p', { plural: 'pods', namespace: 'x', name: 'p' }],
    [
      '/apis/a.b/v1/namespaces/x/things/t/status',
      { group: 'a.b', plural: 'things', namespace: 'x', name: 't', subresource: 'status' },
    ],
    ['/apis/a.b/v1/things', { group: 'a.b', plural: 'things', namespace: undefined }],
  ])('%s', (path, expected) => {
    expect(parseResourcePath(path)).toMatchObject(expected)
  })

  it.each(['/', '/api', '/api/v1', '/apis/a.b/v1', '/api/v1/namespaces/x/pods/p/a/b', '/api/v1/%zz'])(
    '%s names no resource',
    (path) => {
      expect(parseResourcePath(path)).toBeUndefined()
    },
  )
})

describe('every parser', () => {
  const tries = (parse: (text: string) => unknown) => (text: string) => {
    try {
      parse(text)
    } catch (error) {
      expect(error).toEqual(refusal)
    }
  }

  it('reads or refuses any text (property)', () => {
    fc.assert(fc.property(fc.string(), tries(labelMatcher)))
    fc.assert(
      fc.property(
        fc.string(),
        tries((text) => fieldMatcher(text, podKind)),
      ),
    )
    fc.assert(
      fc.property(
        fc.string(),
        tries((text) => negotiate(text, ['Table'])),
      ),
    )
    fc.assert(
      fc.property(
        fc.string(),
        tries((text) => decodeBody(Buffer.from(text), 'application/json')),
      ),
    )
    fc.assert(
      fc.property(
        fc.string(),
        tries((text) => decodeBody(Buffer.from(text), 'application/yaml')),
      ),
    )
    fc.assert(fc.property(fc.string(), (text) => void parseResourcePath(`/api/${text}`)))
  })

  it('reads or refuses any protobuf bytes behind a true header (property)', () => {
    const head = (kind: string) =>
      Buffer.from(
        `\n${String.fromCharCode(kind.length + 6)}\n\x02v1\x12${String.fromCharCode(kind.length)}${kind}`,
        'latin1',
      )
    fc.assert(
      fc.property(
        fc.constantFrom('Secret', 'ConfigMap', 'Namespace'),
        fc.uint8Array({ maxLength: 80 }),
        (kind, bytes) => {
          const raw = Buffer.concat([Buffer.from([0x12, bytes.length]), bytes])
          const body = Buffer.concat([Buffer.from('k8s\0', 'latin1'), head(kind), raw])
          try {
            expect(decodeProtobuf(body)).toMatchObject({ apiVersion: 'v1', kind })
          } catch (error) {
            expect(error).toEqual(refusal)
          }
        },
      ),
    )
  })
})
