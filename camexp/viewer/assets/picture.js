// What is on the stage as one PNG, captions and colour bars with it: for a slide, a mail, a paper.
(camexp => {
  "use strict";
  const { number } = camexp;

  /** One picture of several stages side by side. */
  const compose = stages => {
    const gap = 16, bar = 14, text = 18, foot = 3 * text + bar, heights = stages.map(stage => stage.canvas.height);
    const sheet = document.createElement("canvas"), context = sheet.getContext("2d");
    sheet.width = stages.reduce((sum, stage) => sum + stage.canvas.width + gap, gap);
    sheet.height = Math.max(...heights) + 2 * gap + foot;
    context.fillStyle = "#ffffff";
    context.fillRect(0, 0, sheet.width, sheet.height);
    let left = gap;
    for (const { canvas, bar: colours, caption } of stages) {
      context.drawImage(canvas, left, gap);
      let top = gap + canvas.height + 8;
      context.fillStyle = "#1a1a1f";
      context.font = `${text - 3}px system-ui, sans-serif`;
      if (!colours.node.hidden) {
        context.imageSmoothingEnabled = false;
        context.drawImage(colours.canvas, left, top, canvas.width, bar);
        context.imageSmoothingEnabled = true;
        top += bar + text;
        context.fillText(number(colours.low), left, top);
        const high = number(colours.high);
        context.fillText(high, left + canvas.width - context.measureText(high).width, top);
      }
      context.fillText(caption.textContent, left, top + text + 2, canvas.width);
      left += canvas.width + gap;
    }
    return sheet;
  };

  /** To the clipboard; where that is not allowed, as a file. */
  const copyPicture = async (stages, name, tell) => {
    const blob = await new Promise(resolve => compose(stages).toBlob(resolve, "image/png"));
    try {
      await navigator.clipboard.write([new ClipboardItem({ "image/png": blob })]);
      tell("Picture copied.");
    } catch {
      const link = document.createElement("a");
      link.href = URL.createObjectURL(blob);
      link.download = name.replace(/[^\w.-]+/g, "_") + ".png";
      link.click();
      setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
      tell("Picture saved as a file.");
    }
  };

  Object.assign(camexp, { copyPicture });
})(globalThis.camexp ??= {});
