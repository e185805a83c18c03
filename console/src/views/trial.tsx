import { useState } from 'preact/hooks'
import type { TrialView } from '../../../api/console/insight.ts'
import { objectKey } from '../../../api/resources.ts'
import { call } from '../http.ts'
import { Badge, Failure, QualityMark } from '../parts/bits.tsx'
import { useStore } from '../store.ts'
import { figure, plain, t, withUnit } from '../words.ts'

/** Reads a device once as the text says, by the gateway that serves it. */
export function Trial({ text, sound }: { readonly text: string; readonly sound: boolean }) {
  const { devices } = useStore(1_000)
  const [chosen, setChosen] = useState('')
  const [found, setFound] = useState<TrialView | undefined>(undefined)
  const [error, setError] = useState<unknown>(undefined)
  const [busy, setBusy] = useState(false)
  const model = /^\s*metadata:.*\bname:\s*["']?([\w.-]+)/m.exec(text)?.[1]
  const all = [...devices.values()].filter(({ gateway }) => gateway !== undefined)
  // Those that have this model come first: that is what most people want to know.
  const sorted = all.toSorted(
    (a, b) => Number(b.model === model) - Number(a.model === model) || (a.name < b.name ? -1 : 1),
  )
  const device = chosen === '' ? (sorted[0] === undefined ? '' : keyOf(sorted[0])) : chosen
  const read = async (event: Event) => {
    event.preventDefault()
    setBusy(true)
    setError(undefined)
    setFound(undefined)
    try {
      setFound(await call<TrialView>('/v1/trial', { method: 'POST', body: { device, text } }))
    } catch (thrown) {
      setError(thrown)
    }
    setBusy(false)
  }
  if (all.length === 0) return null
  return (
    <div class="trial">
      <h3>{t('tryModel')}</h3>
      <form class="field" onSubmit={(event) => void read(event)}>
        <select aria-label={t('device')} value={device} onChange={(event) => setChosen(event.currentTarget.value)}>
          {sorted.map((each) => (
            <option key={keyOf(each)} value={keyOf(each)}>
              {keyOf(each)} ({each.model})
            </option>
          ))}
        </select>
        <button type="submit" disabled={!sound || busy}>
          {busy ? t('loading') : t('tryRead')}
        </button>
      </form>
      <p class="muted small">{t('tryHint')}</p>
      <Failure error={error} />
      {found === undefined ? null : (
        <>
          <table>
            <tbody>
              {found.values.map(({ name, value, unit, quality, reason }) => (
                <tr key={name}>
                  <th scope="row">{name}</th>
                  <td>
                    {value === undefined ? (
                      quality === undefined ? (
                        <Badge state="notAnswered" />
                      ) : null
                    ) : (
                      <b>{withUnit(plain(value), unit)}</b>
                    )}{' '}
                    <QualityMark quality={quality} reason={reason} />{' '}
                    {quality === 'good' || reason === undefined ? null : <span class="muted small">{reason}</span>}
                  </td>
                </tr>
              ))}
            </tbody>
          </table>
          <p class="muted small" role="status">
            {t('tookTime', {
              time: found.tookMs < 1000 ? figure(found.tookMs, 'ms') : figure(found.tookMs / 1000, 's', 2),
            })}
          </p>
        </>
      )}
    </div>
  )
}

const keyOf = ({ namespace, name }: { readonly namespace: string; readonly name: string }): string =>
  objectKey(namespace, name)
