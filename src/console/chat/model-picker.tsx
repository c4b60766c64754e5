import { useEffect, useState } from "react";
import type { ResultFor } from "../../client/methods.ts";
import { useHome } from "../home-context.ts";

type Models = ResultFor<"model.list">;

interface ModelPickerProps {
  /** Empty: the gateway's own choice. */
  readonly chosen: string;
  readonly onChoose: (model: string) => void;
}

export function ModelPicker({ chosen, onChoose }: ModelPickerProps) {
  const { client } = useHome();
  const [models, setModels] = useState<Models | null>(null);
  useEffect(() => {
    let wanted = true;
    client.request("model.list", {}).then(
      (found) => wanted && setModels(found),
      () => undefined,
    );
    return () => void (wanted = false);
  }, [client]);
  if (models === null) return <span className="model" />;
  const known = models.models.some(({ id }) => id === chosen);
  return (
    <label className="model">
      <span className="unseen">Model</span>
      <select value={chosen} onChange={({ target }) => onChoose(target.value)}>
        <option value="">{models.default}</option>
        {models.models
          .filter(({ id }) => id !== models.default)
          .map(({ id }) => (
            <option key={id} value={id}>
              {id}
            </option>
          ))}
        {chosen !== "" && !known && <option value={chosen}>{chosen}</option>}
      </select>
    </label>
  );
}
