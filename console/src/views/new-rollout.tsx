import { useState } from 'preact/hooks'
import type { FirmwareView } from '../../../api/console/work.ts'
import type { DeviceView } from '../../../api/views.ts'
import { call } from '../http.ts'
import { Failure, Panel, WhyField } from '../parts/bits.tsx'
import { t } from '../words.ts'

interface NewRolloutProps {
  readonly releases: FirmwareView['releases']
  readonly devices: readonly DeviceView[]
  readonly onMade: () => void
}

const MOST_DEVICES = 500

/** Brings a release to devices of its model: a canary first, then the rest. */
export function NewRollout({ releases, devices, onMade }: NewRolloutProps) {
  const ready = releases.filter(({ status }) => status.state === 'Ready')
  const [chosen, setChosen] = useState(keyOf(ready[0]!))
  const [left, setLeft] = useState<ReadonlySet<string>>(new Set())
  const [canary, setCanary] = useState(1)
  const [halfway, setHalfway] = useState(false)
  const [why, setWhy] = useState('')
  const [error, setError] = useState<unknown>(undefined)
  const release = ready.find((each) => keyOf(each) === chosen) ?? ready[0]!
  const fitting = devices.filter(
    ({ namespace, model }) => namespace === release.namespace && model === release.spec.model,
  )
  const names = fitting.map(({ name }) => name).filter((name) => !left.has(name))
  const submit = async (event: Event) => {
    event.preventDefault()
    setError(undefined)
    try {
      await call('/v1/rollouts', {
        method: 'POST',
        why,
        body: {
          ...{ namespace: release.namespace, name: nameOf(release.name), release: release.name, canary },
          devices: names.slice(0, MOST_DEVICES),
          ...(halfway ? { waves: [50, 100] } : {}),
        },
      })
      onMade()
    } catch (thrown) {
      setError(thrown)
    }
  }
  return (
    <Panel title={t('newRollout')}>
      <form class="approval" onSubmit={(event) => void submit(event)}>
        <label>
          {t('release')}
          <select value={keyOf(release)} onChange={(event) => setChosen(event.currentTarget.value)}>
            {ready.map((each) => (
              <option key={keyOf(each)} value={keyOf(each)}>
                {each.name}
              </option>
            ))}
          </select>
        </label>
        <fieldset class="checks">
          <legend>{t('devices')}</legend>
          {fitting.length === 0 ? <p class="muted">{t('noDevicesOf', { name: release.spec.model })}</p> : null}
          {fitting.map(({ name }) => (
            <label class="check" key={name}>
              <input
                type="checkbox"
                checked={!left.has(name)}
                onChange={(event) => {
                  const next = new Set(left)
                  if (event.currentTarget.checked) next.delete(name)
                  else next.add(name)
                  setLeft(next)
                }}
              />
              {name}
            </label>
          ))}
        </fieldset>
        <label>
          {t('canaryCount')}
          <input
            type="number"
            min={1}
            max={50}
            value={canary}
            onInput={(event) => setCanary(Number(event.currentTarget.value))}
          />
        </label>
        <label class="check">
          <input type="checkbox" checked={halfway} onChange={(event) => setHalfway(event.currentTarget.checked)} />
          {t('halfway')}
        </label>
        <WhyField why={why} onInput={setWhy} />
        <div class="field">
          <button type="submit" class="primary" disabled={names.length === 0}>
            {t('begin')}
          </button>
        </div>
        <Failure error={error} />
      </form>
    </Panel>
  )
}

const keyOf = ({ namespace, name }: FirmwareView['releases'][number]): string => `${namespace}/${name}`

/** A release may be rolled out more than once. */
const nameOf = (release: string): string =>
  `${release.replace(/\./g, '-')}-${Date.now().toString(36).slice(-5)}`.slice(0, 253)
