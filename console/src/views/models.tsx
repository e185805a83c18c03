import { useEffect, useRef, useState } from 'preact/hooks'
import { mayActAs } from '../../../api/console/roles.ts'
import type { DeviceModelSpec } from '../../../api/resources.ts'
import type { PageProps } from '../app.tsx'
import { call } from '../http.ts'
import { Failure, Panel } from '../parts/bits.tsx'
import { useAnswer } from '../use-answer.ts'
import { plain, t, withUnit } from '../words.ts'
import { writeYaml } from '../yaml.ts'

interface Model {
  readonly namespace: string
  readonly name: string
  readonly spec: DeviceModelSpec
}

interface ModelFinding {
  readonly severity: 'error' | 'warning'
  readonly line: number
  readonly column: number
  readonly message: string
  readonly hint: string
}

interface Check {
  readonly findings: readonly ModelFinding[]
  readonly models: readonly string[]
}

const CHECK_AFTER_MS = 300

const SKELETON = `apiVersion: sluice.dev/v1alpha1
kind: DeviceModel
metadata: {name: my-meter}
spec:
  vendor: Example
  properties:
    - {name: voltage, type: float, unit: V, modbus: {input: 0x0000, as: float32}}
`

/** Models as YAML, checked while typing as \`sluice model lint\` checks them. */
export function ModelsPage({ session }: PageProps) {
  const { value, error, again } = useAnswer<{ items: Model[] }>('/v1/catalogue')
  const [text, setText] = useState('')
  const [shown, setShown] = useState<Model | undefined>(undefined)
  const models = (value?.items ?? []).toSorted((a, b) => a.name.localeCompare(b.name))
  const open = (model: Model) => {
    setShown(model)
    setText(yamlOf(model))
  }
  return (
    <>
      <div class="title">
        <h1>{t('models')}</h1>
        <span class="grow" />
        <button
          type="button"
          onClick={() => {
            setShown(undefined)
            setText(SKELETON)
          }}
        >
          {t('newModel')}
        </button>
      </div>
      <Failure error={error} />
      <div class="models">
        <nav class="panel" aria-label={t('models')}>
          <ul>
            {models.map((model) => (
              <li key={`${model.namespace}/${model.name}`}>
                <button type="button" class="plain" aria-pressed={shown === model} onClick={() => open(model)}>
                  {model.name}
                  <span class="muted small">
                    {model.spec.vendor ?? model.namespace} · {model.spec.properties.length} {t('properties')}
                  </span>
                </button>
              </li>
            ))}
          </ul>
        </nav>
        {text === '' ? (
          <span />
        ) : (
          <Editor {...{ text, setText }} mayApply={mayActAs(session.role, 'admin')} onApplied={again} />
        )}
      </div>
      {shown === undefined ? null : <Properties model={shown} />}
    </>
  )
}

interface EditorProps {
  readonly text: string
  readonly setText: (text: string) => void
  readonly mayApply: boolean
  readonly onApplied: () => void
}

function Editor({ text, setText, mayApply, onApplied }: EditorProps) {
  const [check, setCheck] = useState<Check | undefined>(undefined)
  const [error, setError] = useState<unknown>(undefined)
  const [made, setMade] = useState<readonly string[]>([])
  const area = useRef<HTMLTextAreaElement>(null)
  const gutter = useRef<HTMLPreElement>(null)
  useEffect(() => {
    const over = new AbortController()
    const timer = setTimeout(() => {
      call<Check>('/v1/check', { method: 'POST', body: { text }, signal: over.signal }).then(
        (found) => {
          setCheck(found)
          setError(undefined)
        },
        (thrown: unknown) => over.signal.aborted || setError(thrown),
      )
    }, CHECK_AFTER_MS)
    setMade([])
    return () => {
      clearTimeout(timer)
      over.abort()
    }
  }, [text])
  const apply = async () => {
    try {
      setMade((await call<{ made: string[] }>('/v1/models', { method: 'POST', body: { text } })).made)
      onApplied()
    } catch (thrown) {
      setError(thrown)
    }
  }
  const findings = check?.findings ?? []
  const marked = new Map(findings.map(({ line, severity }) => [line, severity]))
  const goTo = ({ line, column }: ModelFinding) => {
    const lines = text.split('\n').slice(0, line - 1)
    const at = lines.reduce((sum, each) => sum + each.length + 1, 0) + column - 1
    area.current?.focus()
    area.current?.setSelectionRange(at, at + 1)
  }
  const lines = text.split('\n')
  return (
    <section class="panel editor" aria-label={t('modelText')}>
      <div class="editing">
        <pre class="gutter" aria-hidden="true" ref={gutter}>
          {lines.map((_, index) => (
            <span key={index} class={marked.get(index + 1) ?? ''}>{`${index + 1}\n`}</span>
          ))}
        </pre>
        <textarea
          ref={area}
          aria-label={t('modelText')}
          spellcheck={false}
          wrap="off"
          rows={Math.min(28, Math.max(12, lines.length + 1))}
          value={text}
          onInput={(event) => setText(event.currentTarget.value)}
          onScroll={(event) => gutter.current?.scrollTo(0, event.currentTarget.scrollTop)}
        />
      </div>
      <ul class="findings" aria-live="polite">
        {findings.map((finding) => (
          <li key={`${finding.line}:${finding.column}:${finding.message}`} class={finding.severity}>
            <button type="button" class="plain" onClick={() => goTo(finding)}>
              <b>{t('line', { n: finding.line })}</b> {finding.message}. <span class="muted">{finding.hint}</span>
            </button>
          </li>
        ))}
        {check !== undefined && findings.length === 0 ? (
          <li class="sound">✓ {t('sound', { names: check.models.join(', ') })}</li>
        ) : null}
      </ul>
      <Failure error={error} />
      <div class="field">
        {mayApply ? (
          <button
            type="button"
            class="primary"
            disabled={check === undefined || findings.some(({ severity }) => severity === 'error')}
            onClick={() => void apply()}
          >
            {t('apply')}
          </button>
        ) : null}
        {made.length === 0 ? null : <span role="status">{t('made', { names: made.join(', ') })}</span>}
      </div>
    </section>
  )
}

function Properties({ model }: { readonly model: Model }) {
  return (
    <Panel title={t('properties')}>
      <div class="scroll-x" tabIndex={0} role="group" aria-label={t('properties')}>
        <table>
          <tbody>
            {model.spec.properties.map((property) => (
              <tr key={property.name}>
                <th scope="row">{property.name}</th>
                <td>{property.type}</td>
                <td>{property.access ?? 'read'}</td>
                <td class="num">
                  {property.min === undefined && property.max === undefined
                    ? ''
                    : withUnit(`${plain(property.min)} … ${plain(property.max)}`, property.unit)}
                </td>
                <td>{withUnit('', property.unit).trim()}</td>
                <td class="muted">{property.description}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </Panel>
  )
}

const yamlOf = ({ namespace, name, spec }: Model): string =>
  writeYaml({ apiVersion: 'sluice.dev/v1alpha1', kind: 'DeviceModel', metadata: { name, namespace }, spec })
