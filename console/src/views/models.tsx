import { useState } from 'preact/hooks'
import type { DeviceModelSpec } from '../../../api/resources.ts'
import type { PageProps } from '../app.tsx'
import { useDraft } from '../draft.ts'
import { call } from '../http.ts'
import { leave } from '../leave.ts'
import { Failure, Panel } from '../parts/bits.tsx'
import { Unsaved } from '../parts/unsaved.tsx'
import { useAnswer } from '../use-answer.ts'
import { count, plain, t, withUnit } from '../words.ts'
import { writeYaml } from '../yaml.ts'
import { Editor } from './model-editor.tsx'

interface Model {
  readonly namespace: string
  readonly name: string
  readonly spec: DeviceModelSpec
}

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
  const draft = useDraft(session.name)
  const [shown, setShown] = useState<Model | undefined>(undefined)
  const models = (value?.items ?? []).toSorted((a, b) => a.name.localeCompare(b.name))
  const open = (model: Model) =>
    leave(() => {
      setShown(model)
      draft.open(yamlOf(model))
    })
  // As it is now: it may have been applied since.
  const current = shown === undefined ? undefined : (models.find((each) => keyOf(each) === keyOf(shown)) ?? shown)
  return (
    <>
      <div class="title">
        <h1>{t('models')}</h1>
        <span class="grow" />
        <button
          type="button"
          onClick={() =>
            leave(() => {
              setShown(undefined)
              draft.open(SKELETON)
            })
          }
        >
          {t('newModel')}
        </button>
      </div>
      <Failure error={error} />
      <div class="models">
        <nav class="panel" aria-label={t('models')}>
          <ul>
            {models.map((model) => (
              <li key={keyOf(model)}>
                <button type="button" class="plain" aria-pressed={current === model} onClick={() => open(model)}>
                  {model.name}
                  <span class="muted small">
                    {model.spec.vendor ?? model.namespace} · {count('properties', model.spec.properties.length)}
                  </span>
                </button>
              </li>
            ))}
          </ul>
          <Shelf onChosen={open} />
        </nav>
        {draft.text === '' && !draft.unsaved ? (
          <span />
        ) : (
          <Editor
            {...{ text: draft.text, setText: draft.setText, session }}
            onApplied={(text) => {
              draft.setSaved(text)
              again()
            }}
          />
        )}
      </div>
      {current === undefined ? null : <Properties model={current} />}
      {draft.unsaved ? <Unsaved onDiscard={draft.discard} /> : null}
    </>
  )
}

/** The models that come with Sluice: looked at here, in the cluster only once they are applied. */
function Shelf({ onChosen }: { readonly onChosen: (model: Model) => void }) {
  const [wanted, setWanted] = useState('')
  const [error, setError] = useState<unknown>(undefined)
  const { value, error: unread } = useAnswer<{ items: string[] }>('/v1/shelf')
  const words = wanted
    .toLowerCase()
    .split(/\s+/)
    .filter((each) => each !== '')
  const names = (value?.items ?? []).filter((name) => words.every((each) => name.includes(each)))
  const choose = async (name: string) => {
    setError(undefined)
    try {
      onChosen({ namespace: 'default', ...(await call<Omit<Model, 'namespace'>>(`/v1/shelf/${name}`)) })
    } catch (thrown) {
      setError(thrown)
    }
  }
  return (
    <section class="shelf" aria-label={t('catalogue')}>
      <h2>
        {t('catalogue')} <span class="muted small">{value === undefined ? '' : value.items.length}</span>
      </h2>
      <input
        type="search"
        aria-label={t('catalogue')}
        placeholder={t('catalogueHint')}
        value={wanted}
        onInput={(event) => setWanted(event.currentTarget.value)}
      />
      <Failure error={error ?? unread} />
      <ul>
        {names.map((name) => (
          <li key={name}>
            <button type="button" class="plain" onClick={() => void choose(name)}>
              {name}
            </button>
          </li>
        ))}
      </ul>
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
                    : `${plain(property.min)} … ${plain(property.max)}`}
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

const keyOf = ({ namespace, name }: Model): string => `${namespace}/${name}`

const yamlOf = ({ namespace, name, spec }: Model): string =>
  writeYaml({ apiVersion: 'sluice.dev/v1alpha1', kind: 'DeviceModel', metadata: { name, namespace }, spec })
